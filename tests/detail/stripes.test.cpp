// SPDX-License-Identifier: BSL-1.0
// What striped_counter is made of: the gate, and blocks of stripes.

#include <interlock/detail/gate.hpp>
#include <interlock/detail/stripes.hpp>

#include <set>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace il = interlock::detail;

static_assert(sizeof(il::stripe) == il::cache_line && alignof(il::stripe) == il::cache_line);
static_assert(sizeof(il::stripe_block) == il::cache_line);
static_assert(sizeof(il::gate) == 4);

TEST_CASE("an open gate lets everybody pass and a closed one nobody until it opens") {
  il::gate gate;
  gate.pass();
  for (std::size_t i = 0; i < support::rounds(2'000); ++i) {
    gate.close();
    int looked = 0;
    int seen[2] = {0, 0};
    std::atomic<int> arrived{0};
    std::thread passers[2];
    for (int me = 0; me < 2; ++me) {
      passers[me] = std::thread([&, me] {
        arrived.fetch_add(1);
        gate.pass();
        seen[me] = looked;
      });
    }
    while (arrived.load() < 2) std::this_thread::yield();
    looked = 1;
    gate.open();
    for (std::thread& passer : passers) passer.join();
    REQUIRE(seen[0] == 1);
    REQUIRE(seen[1] == 1);
  }
}

TEST_CASE("one thread at a time holds the gate closed") {
  il::gate gate;
  std::size_t sections = 0;
  const std::size_t each = support::rounds(50'000);
  support::run_threads(4, [&](std::size_t i) {
    for (std::size_t k = 0; k < each; ++k) {
      if (i == 3) {
        gate.pass();
        continue;
      }
      gate.close();
      ++sections;
      gate.open();
    }
  });
  CHECK(sections == 3 * each);
}

TEST_CASE("who closes the gate sees what was done by all who passed it open") {
  // The passer marks, then passes; the closer closes, then looks. If the closer does not see the
  // mark, the passer cannot be through before the gate opens.
  std::size_t slipped_through = 0;
  const std::size_t trials = support::rounds(5'000);
  for (std::size_t i = 0; i < trials; ++i) {
    il::gate gate;
    std::atomic<int> mark{0};
    std::atomic<bool> through{false};
    support::run_threads(2, [&](std::size_t me) {
      if (me == 0) {
        mark.store(1, std::memory_order_seq_cst);
        gate.pass();
        through.store(true);
      } else {
        gate.close();
        const bool missed = mark.load(std::memory_order_seq_cst) == 0;
        if (missed && through.load()) ++slipped_through;
        gate.open();
      }
    });
  }
  CHECK(slipped_through == 0);
}

TEST_CASE("a block has stripes of zero on lines of their own and leads to the older block") {
  il::stripe_block* const small = il::stripe_block::make(2, nullptr);
  il::stripe_block* const large = il::stripe_block::make(64, small);
  REQUIRE(small != nullptr);
  REQUIRE(large != nullptr);
  CHECK(small->older() == nullptr);
  CHECK(large->older() == small);
  CHECK(small->size() == 2);
  CHECK(large->size() == 64);
  std::set<std::uintptr_t> lines;
  for (const il::stripe_block* block : {small, large}) {
    lines.insert(reinterpret_cast<std::uintptr_t>(block) / il::cache_line);
    for (const il::stripe& stripe : *block) {
      CHECK(stripe.tally.load() == 0);
      CHECK(reinterpret_cast<std::uintptr_t>(&stripe) % il::cache_line == 0);
      lines.insert(reinterpret_cast<std::uintptr_t>(&stripe) / il::cache_line);
    }
  }
  CHECK(lines.size() == 1 + 2 + 1 + 64);
  il::stripe_block::destroy(large);
  il::stripe_block::destroy(small);
}

TEST_CASE("threads that move part ways") {
  // Sixteen threads, each moved once, on 64 stripes: few share.
  std::atomic<std::uint32_t> index[16];
  support::run_threads(16, [&](std::size_t i) {
    auto& place = il::stripe_place::of_this_thread();
    place.move();
    index[i].store(place.index % 64);
    static std::atomic<int> here{0};
    here.fetch_add(1);
    while (here.load() < 16) std::this_thread::yield();  // all alive at once, as distinct places
  });
  std::set<std::uint32_t> different;
  for (const auto& i : index) different.insert(i.load());
  CHECK(different.size() >= 8);
}

TEST_CASE("a thread that keeps moving comes by every stripe") {
  il::stripe_place place;
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 1'000; ++i) {
    place.move();
    seen.insert(place.index % 64);
  }
  CHECK(seen.size() == 64);
  CHECK(il::most_stripes() >= 2);
}
