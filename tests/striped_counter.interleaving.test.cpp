// SPDX-License-Identifier: BSL-1.0
// striped_counter held up in the middle of a call, while others go on: the interleavings that a
// machine with few processors never shows by chance. A page that faults does the holding up.

#include <interlock/striped_counter.hpp>

#include <cstdlib>
#include <memory>

#include "support/catch.hpp"
#include "support/pages.hpp"
#include "support/threads.hpp"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OPERATOR_NEW_IS_TAKEN  // Clang's thread sanitizer does not link with a program's own
#endif
#endif

#ifdef OPERATOR_NEW_IS_TAKEN
TEST_CASE("interleavings of striped_counter are shown by the other builds") { SUCCEED(); }
#else

namespace il = interlock::detail;
using interlock::striped_counter;
using support::stop_at;

namespace {

// The blocks of the counter come from here: header and first stripe at the end of one page, the
// other stripes on the next.
constexpr std::size_t first_page_part = 2 * il::cache_line;
std::unique_ptr<support::pages> block_pages;
std::size_t blocks_made = 0;
bool out_of_memory = false;

std::byte* second_page() { return block_pages->start() + support::page_size(); }

std::int64_t in_first_stripe() {
  const auto* const stripe =
      reinterpret_cast<const il::stripe*>(second_page() - sizeof(il::stripe));
  return static_cast<std::int64_t>(stripe->tally.load());
}

// Effects: adds 2 to the counter, the second 1 between the look at the word and the change of it.
void collide(support::paged<striped_counter>& c) {
  stop_at(&*c, support::access::write, [&] { ++*c; });
  ++*c;
}

void use_second_stripe() {
  auto& place = il::stripe_place::of_this_thread();
  while (place.index % 2 == 0) place.move();
}

// Effects: waits for something that happens soon or, if all is well, never.
template <class Predicate>
void give_it_a_chance(Predicate happened) {
  for (int i = 0; i < 20'000 && !happened(); ++i) std::this_thread::yield();
}

struct spread_counter {
  spread_counter() {
    il::stripe_place::of_this_thread() = {};
    out_of_memory = false;
    blocks_made = 0;
    block_pages = std::make_unique<support::pages>(2);
    collide(counter);
    counter->sub(2);
  }
  support::paged<striped_counter> counter;
};

}  // namespace

void* operator new(std::size_t size, std::align_val_t, const std::nothrow_t&) noexcept {
  if (out_of_memory || size > first_page_part + support::page_size()) return nullptr;
  ++blocks_made;
  if (blocks_made == 1) return second_page() - first_page_part;
  return std::aligned_alloc(il::cache_line, size);
}

void operator delete(void* block, std::align_val_t) noexcept {
  if (!block_pages->hold(block)) std::free(block);
}

TEST_CASE("a collision spreads a striped_counter and a second one makes a larger block") {
  spread_counter spread;
  striped_counter& c = *spread.counter;
  CHECK(blocks_made == 1);
  CHECK(c.load() == 0);

  auto& place = il::stripe_place::of_this_thread();
  CHECK(place.index == 0);
  stop_at(block_pages->start(), support::access::write, [&] { ++c; });
  ++c;
  CHECK(blocks_made == 1);
  CHECK(place.moved);
  CHECK(c.load() == 2);

  place.index = 0;
  stop_at(block_pages->start(), support::access::write, [&] { ++c; });
  ++c;
  CHECK(blocks_made == (il::most_stripes() > 2 ? 2 : 1));
  CHECK(c.load() == 4);
  CHECK(c.load_exact() == 4);
  CHECK(c.exchange(0) == 4);
}

TEST_CASE("without memory a striped_counter stays as it is and counts on") {
  support::paged<striped_counter> c;
  block_pages = std::make_unique<support::pages>(2);
  out_of_memory = true;
  blocks_made = 0;
  collide(c);
  CHECK(blocks_made == 0);
  CHECK(c->load() == 2);
  CHECK(c->load_exact() == 2);
}

TEST_CASE("an add that an exact sum has missed does not return before the sum is over") {
  // Up in one thread, then down in another: the true value is 0, 1, 0. The reader has read the
  // stripe that goes up and not yet the one that goes down.
  for (const bool exchanging : {false, true}) {
    spread_counter spread;
    striped_counter& c = *spread.counter;
    const std::int64_t before = in_first_stripe();
    std::atomic<bool> reading{false};
    std::atomic<bool> went_up{false};
    std::atomic<bool> went_down{false};
    std::thread up([&] {
      while (!reading.load()) std::this_thread::yield();
      ++c;
      went_up.store(true);
    });
    std::thread down([&] {
      use_second_stripe();
      while (!went_up.load()) std::this_thread::yield();
      --c;
      went_down.store(true);
    });
    stop_at(second_page(), support::access::any, [&] {
      reading.store(true);
      give_it_a_chance([&] { return in_first_stripe() != before; });
      give_it_a_chance([&] { return went_down.load(); });
    });
    const std::int64_t value = exchanging ? c.exchange(0) : c.load_exact();
    up.join();
    down.join();
    CHECK(value >= 0);
    CHECK(value <= 1);
    CHECK(c.load() == (exchanging ? -value : 0));
  }
}

TEST_CASE("an add that an exchange has missed is left in the counter") {
  spread_counter spread;
  striped_counter& c = *spread.counter;
  c.add(10);
  const std::int64_t before = in_first_stripe();
  std::atomic<bool> reading{false};
  std::thread late([&] {
    while (!reading.load()) std::this_thread::yield();
    c.add(5);
  });
  stop_at(second_page(), support::access::any, [&] {
    reading.store(true);
    give_it_a_chance([&] { return in_first_stripe() != before; });
  });
  CHECK(c.exchange(100) == 10);
  late.join();
  CHECK(c.load() == 105);
}

TEST_CASE("a load held up by an exchange counts it wholly or not at all") {
  spread_counter spread;
  striped_counter& c = *spread.counter;
  c.add(10);
  std::int64_t drained = 0;
  stop_at(second_page(), support::access::any, [&] {
    c.add(5);
    drained = c.exchange(0);
  });
  CHECK(c.load() == 10);
  CHECK(drained == 15);
  CHECK(c.load() == 0);
}

TEST_CASE("a striped load may count a sub and miss the add before it") {
  // Why load() promises no more than it does; load_exact() would have made the add wait.
  spread_counter spread;
  striped_counter& c = *spread.counter;
  stop_at(second_page(), support::access::any, [&] {
    ++c;
    auto& place = il::stripe_place::of_this_thread();
    const auto here = std::exchange(place.index, 1U);
    --c;
    place.index = here;
  });
  CHECK(c.load() == -1);
  CHECK(c.load_exact() == 0);
}

#endif  // OPERATOR_NEW_IS_TAKEN
