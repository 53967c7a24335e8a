// SPDX-License-Identifier: BSL-1.0
// striped_counter held up in the middle of a call, while others go on: the interleavings that a
// machine with few processors never shows by chance. A page that faults does the holding up.

#include <interlock/striped_counter.hpp>

#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>

#include "support/catch.hpp"
#include "support/pages.hpp"
#include "support/threads.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

// The thread sanitizer holds locks of its own where the page faults.
#if defined(__SANITIZE_THREAD__)
#define CANNOT_BE_HELD_UP
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CANNOT_BE_HELD_UP
#endif
#endif

#ifdef CANNOT_BE_HELD_UP
TEST_CASE("interleavings of striped_counter are shown by the other builds") { SUCCEED(); }
#else

namespace il = interlock::detail;
using interlock::striped_counter;
using support::stop_at;

namespace {

// The slots of all counters come from here: row 0 at the end of one page, the others on the next.
constexpr std::size_t slab_pages = 9;  // room for 64 processors
std::unique_ptr<support::pages> slab;
std::size_t slabs_made = 0;
bool out_of_memory = false;

std::byte* second_page() { return slab->start() + support::page_size(); }

// Effects: lets this thread count in this row from here on.
// Returns: false if the system does not let it.
bool use_row(unsigned row) {
  il::stripe_place::of_this_thread().index = row;
  if (!il::restartable::available()) return true;
#if defined(__linux__)
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(row, &one);
  return ::sched_setaffinity(0, sizeof one, &one) == 0;
#else
  return false;
#endif
}

// Puts the thread back where it was.
class same_place {
public:
#if defined(__linux__)
  same_place() { ::sched_getaffinity(0, sizeof before_, &before_); }
  ~same_place() { ::sched_setaffinity(0, sizeof before_, &before_); }

private:
  cpu_set_t before_{};
#endif
};

// Whether rows can be told apart: else there is nothing in between that could be held up.
bool two_rows() {
  const same_place back;
  const bool found = il::restartable::rows() >= 2 && use_row(1) && use_row(0);
  if (!found) SUCCEED("one row only");
  return found;
}

void on_another_thread(std::function<void()> f) { std::thread(f).join(); }

}  // namespace

void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  if (out_of_memory) return nullptr;
  ++slabs_made;
  if (slabs_made > 1 || size > il::row_bytes + (slab_pages - 1) * support::page_size()) {
    const auto to = static_cast<std::size_t>(alignment);
    return std::aligned_alloc(to, (size + to - 1) / to * to);
  }
  slab = std::make_unique<support::pages>(slab_pages);
  return second_page() - il::row_bytes;
}

void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }

TEST_CASE("without memory a striped_counter stays as it is and counts on") {
  out_of_memory = true;
  striped_counter c;
  ++c;
  c.spread();
  for (int i = 0; i < 100; ++i) ++c;
  out_of_memory = false;
  CHECK(slabs_made == 0);
  CHECK(c.load() == 101);
  CHECK(c.load_exact() == 101);
  CHECK(c.exchange(0) == 101);
}

TEST_CASE("adds return while an exact sum is held up, and it counts them") {
  if (!two_rows()) return;
  for (const bool exchanging : {false, true}) {
    striped_counter c;
    c.spread();
    c.add(10);
    std::int64_t meanwhile = 0;
    stop_at(second_page(), support::access::any, [&] {
      // The sum has passed the first slot. No slot changes any more, so these go elsewhere.
      on_another_thread([&] {
        use_row(0);
        c.add(5);
      });
      on_another_thread([&] {
        use_row(1);
        c.add(7);
      });
      meanwhile = c.load();
    });
    CHECK((exchanging ? c.exchange(100) : c.load_exact()) == 22);
    CHECK(meanwhile == 22);
    CHECK(c.load() == (exchanging ? 100 : 22));
  }
}

TEST_CASE("two exact sums at once do not disturb each other") {
  if (!two_rows()) return;
  striped_counter c;
  c.spread();
  c.add(10);
  std::int64_t inner = 0;
  stop_at(second_page(), support::access::any, [&] {
    inner = c.exchange(1);
    c.add(5);  // the outer one still holds the slots still
  });
  CHECK(c.exchange(100) == 6);
  CHECK(inner == 10);
  CHECK(c.load_exact() == 100);
}

TEST_CASE("a load held up by an exchange counts it wholly or not at all") {
  if (!two_rows()) return;
  striped_counter c;
  c.spread();
  c.add(10);
  std::int64_t drained = 0;
  stop_at(second_page(), support::access::any, [&] {
    const same_place back;
    use_row(1);
    c.add(5);
    drained = c.exchange(0);
  });
  // It has read the base word before, and does not find what the exchange did there. What was
  // added to a slot in front of it, it does.
  CHECK(c.load() == 15);
  CHECK(drained == 15);
  CHECK(c.load() == 0);
}

TEST_CASE("a striped load may count a sub and miss the add before it") {
  // Why load() promises no more than it does.
  if (!two_rows()) return;
  striped_counter c;
  c.spread();
  stop_at(second_page(), support::access::any, [&] {
    const same_place back;
    use_row(0);
    ++c;
    use_row(1);
    --c;
  });
  CHECK(c.load() == -1);
  CHECK(c.load_exact() == 0);
}

#endif  // CANNOT_BE_HELD_UP
