// SPDX-License-Identifier: BSL-1.0
// counter: the contract, one guarantee a case.

#include <interlock/counter.hpp>

#include <limits>
#include <memory>
#include <type_traits>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::counter;

static_assert(std::is_same_v<decltype(counter(1)), counter<std::int64_t>>);
static_assert(std::is_same_v<counter<>, counter<std::int64_t>>);
static_assert(sizeof(counter<std::uint8_t>) == 1);
static_assert(sizeof(counter<std::int64_t>) == 8);
static_assert(!std::is_copy_constructible_v<counter<>> && !std::is_copy_assignable_v<counter<>>);
static_assert(!std::is_convertible_v<int, counter<>>);
static_assert(std::is_nothrow_default_constructible_v<counter<>>);

namespace {
constinit counter<int> in_static_storage(7);
}

TEST_CASE("counter starts at zero or where it is told to") {
  CHECK(counter<>{}.load() == 0);
  CHECK(counter<>(100).load() == 100);
  CHECK(in_static_storage.load() == 7);
}

TEST_CASE("counter answers with the value after and its postfix forms with the value before") {
  counter<int> c(10);
  CHECK(c.add(5) == 15);
  CHECK(c.sub(3) == 12);
  CHECK((c += 2) == 14);
  CHECK((c -= 4) == 10);
  CHECK(++c == 11);
  CHECK(--c == 10);
  CHECK(c++ == 10);
  CHECK(c-- == 11);
  CHECK(c.load() == 10);
  CHECK(c.add(-20) == -10);
  CHECK(c.sub(-20) == 10);
  CHECK(c.exchange(1) == 10);
  CHECK(c.load() == 1);
}

TEMPLATE_TEST_CASE("Past the largest value the counter goes on from the smallest", "", std::int8_t,
                   std::uint8_t, std::int16_t, std::uint16_t, std::int32_t, std::uint32_t,
                   std::int64_t, std::uint64_t) {
  using limits = std::numeric_limits<TestType>;
  counter<TestType> c(limits::max());
  CHECK(++c == limits::min());
  CHECK(--c == limits::max());
  CHECK(c.add(TestType{2}) == static_cast<TestType>(limits::min() + TestType{1}));
  CHECK(c.sub(TestType{2}) == limits::max());
  counter<TestType> zero;
  CHECK(zero.sub(limits::min()) == limits::min());
  CHECK(zero.sub(limits::min()) == TestType{0});
}

TEST_CASE("No add is lost however many threads add at once") {
  counter<> c(100);
  support::run_threads(50, [&](std::size_t) { ++c; });
  CHECK(c.load() == 150);
}

TEST_CASE("Each add answers with the value that it produced itself") {
  counter<> c;
  const std::size_t each = support::rounds(20'000);
  std::vector<std::atomic<int>> seen(4 * each + 1);
  support::run_threads(4, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      const auto value = static_cast<std::size_t>(++c);
      if (value < seen.size()) seen[value].fetch_add(1, std::memory_order_relaxed);
    }
  });
  std::size_t once = 0;
  for (const auto& times : seen) once += times.load() == 1 ? 1U : 0U;
  CHECK(once == 4 * each);
  CHECK(seen[0].load() == 0);
}

TEST_CASE("An exchange hands out every count exactly once") {
  counter<> c;
  const std::size_t each = support::rounds(50'000);
  std::atomic<std::int64_t> drained{0};
  support::run_threads(4, [&](std::size_t i) {
    for (std::size_t k = 0; k < each; ++k) {
      if (i < 2) {
        ++c;
      } else {
        drained.fetch_add(c.exchange(0));
      }
    }
  });
  CHECK(drained.load() + c.load() == static_cast<std::int64_t>(2 * each));
}

TEST_CASE("Operations on several counters take effect in one order that all threads agree on") {
  // Whoever adds first in that order is seen by the other: both cannot read zero.
  std::size_t both_missed = 0;
  struct {
    alignas(64) counter<int> mine;
    alignas(64) counter<int> yours;
  } pair;
  std::atomic<std::size_t> arrived{0};
  int read[2] = {0, 0};
  const std::size_t trials = support::rounds(20'000);
  support::run_threads(2, [&](std::size_t i) {
    counter<int>& own = i == 0 ? pair.mine : pair.yours;
    counter<int>& other = i == 0 ? pair.yours : pair.mine;
    const auto meet = [&](std::size_t all) {
      arrived.fetch_add(1);
      for (unsigned n = 0; arrived.load() < all; ++n) {
        if (n > 100) std::this_thread::yield();
      }
    };
    for (std::size_t trial = 0; trial < trials; ++trial) {
      meet(6 * trial + 2);
      ++own;
      read[i] = other.load();
      meet(6 * trial + 4);
      if (i == 0) both_missed += read[0] == 0 && read[1] == 0 ? 1U : 0U;
      static_cast<void>(own.exchange(0));
      meet(6 * trial + 6);
    }
  });
  CHECK(both_missed == 0);
}

TEST_CASE("counter may be destroyed by whoever counted it down to zero") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    int written[3] = {0, 0, 0};
    std::atomic<int> freed{0};
    auto* const users = new counter<int>(3);
    support::run_threads(3, [&](std::size_t me) {
      written[me] = 1;
      if (--*users == 0) {
        freed.fetch_add(written[0] + written[1] + written[2]);  // the others' writes are visible
        delete users;
      }
    });
    REQUIRE(freed.load() == 3);
  }
}
