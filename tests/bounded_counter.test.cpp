// SPDX-License-Identifier: BSL-1.0
// bounded_counter: the contract, one guarantee a case.

#include <interlock/bounded_counter.hpp>

#include <limits>
#include <string>
#include <type_traits>

#include "support/catch.hpp"
#include "support/pages.hpp"
#include "support/threads.hpp"

using interlock::bounded_counter;
using limits = std::numeric_limits<std::int64_t>;

static_assert(sizeof(bounded_counter) == 24);
static_assert(!std::is_copy_constructible_v<bounded_counter>);
static_assert(!std::is_copy_assignable_v<bounded_counter>);
static_assert(!std::is_default_constructible_v<bounded_counter>);

namespace {

template <class F>
std::string complaint(F f) {
  try {
    f();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "(none)";
}

}  // namespace

TEST_CASE("bounded_counter knows its value and its bounds") {
  const bounded_counter c(5, -10, 20);
  CHECK(c.load() == 5);
  CHECK(c.min() == -10);
  CHECK(c.max() == 20);
}

TEST_CASE("The value never leaves the closed range from min to max") {
  bounded_counter c(0, -2, 3);
  CHECK(c.try_add(3));
  CHECK_FALSE(c.try_add(1));
  CHECK(c.load() == 3);
  CHECK(c.try_sub(5));
  CHECK_FALSE(c.try_sub(1));
  CHECK(c.load() == -2);

  std::size_t outside = 0;
  std::atomic<int> busy{3};
  support::run_threads(4, [&](std::size_t i) {
    if (i == 3) {
      while (busy.load() != 0) outside += c.load() < -2 || c.load() > 3 ? 1U : 0U;
      return;
    }
    for (std::size_t k = 0; k < support::rounds(50'000); ++k) {
      const auto n = static_cast<std::int64_t>((k + i) % 4);
      static_cast<void>(k % 2 == 0 ? c.try_add(n) : c.try_sub(n));
    }
    busy.fetch_sub(1);
  });
  CHECK(outside == 0);
}

TEST_CASE("A request is granted whole or not at all") {
  bounded_counter c(5, 0, 8);
  CHECK_FALSE(c.try_sub(6));
  CHECK(c.load() == 5);
  CHECK_FALSE(c.try_add(4));
  CHECK(c.load() == 5);
  CHECK(c.try_sub(5));
  CHECK(c.load() == 0);
  CHECK(c.try_add(8));
  CHECK(c.load() == 8);
  CHECK(c.try_add(0));
  CHECK(c.try_sub(0));
  CHECK(c.load() == 8);
}

TEST_CASE("A request is refused only if it did not fit at one moment during the call") {
  // Each thread holds at most two of 2 * threads units: there is always enough, and always room.
  constexpr std::size_t threads = 4;
  bounded_counter stock(2 * threads, 0, 2 * threads);
  std::atomic<std::size_t> refused{0};
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t k = 0; k < support::rounds(50'000); ++k) {
      const std::int64_t n = k % 2 == 0 ? 1 : 2;
      if (!stock.try_sub(n) || !stock.try_add(n)) refused.fetch_add(1);
    }
  });
  CHECK(refused.load() == 0);
  CHECK(stock.load() == 2 * threads);
}

TEST_CASE("What is granted adds up to exactly what the value changed by") {
  const auto seats = static_cast<std::int64_t>(support::rounds(50'000));
  bounded_counter free(seats, 0, seats);
  std::atomic<std::int64_t> sold{0};
  support::run_threads(4, [&](std::size_t i) {
    const auto n = static_cast<std::int64_t>(i % 3 + 1);
    while (free.try_sub(n)) sold.fetch_add(n);
    while (free.try_sub(1)) sold.fetch_add(1);
  });
  CHECK(sold.load() == seats);
  CHECK(free.load() == 0);
}

TEST_CASE("A refused request writes nothing") {
  support::paged<bounded_counter> c(5, 0, 8);
  REQUIRE(c.forbid_writes());
  CHECK_FALSE(c->try_add(4));
  CHECK_FALSE(c->try_sub(6));
  CHECK_FALSE(c->try_sub(limits::max()));
  CHECK(c->load() == 5);
}

TEST_CASE("bounded_counter refuses bounds that make no sense and says what to do") {
  const std::string order =
      "interlock::bounded_counter(initial, min, max): needs min <= initial <= max, got initial ";
  CHECK(complaint([] { bounded_counter(0, 100, 50); }) == order + "0, min 100, max 50");
  CHECK(complaint([] { bounded_counter(0, 1, -1); }) == order + "0, min 1, max -1");
  CHECK(complaint([] { bounded_counter(-1, 0, 10); }) == order + "-1, min 0, max 10");
  CHECK(complaint([] { bounded_counter(11, 0, 10); }) == order + "11, min 0, max 10");
  CHECK(complaint([] { bounded_counter(3, 3, 3); }) == "(none)");
}

TEST_CASE("bounded_counter refuses negative amounts and says what to do") {
  bounded_counter c(5, 0, 10);
  const std::string from = "interlock::bounded_counter::";
  const std::string add = "try_add(n): needs n >= 0, got ", no_add = "; use try_sub for the ";
  const std::string sub = "try_sub(n): needs n >= 0, got ", no_sub = "; use try_add for the ";
  const std::string way = "opposite direction";
  CHECK(complaint([&] { static_cast<void>(c.try_add(-1)); }) == from + add + "-1" + no_add + way);
  CHECK(complaint([&] { static_cast<void>(c.try_sub(-7)); }) == from + sub + "-7" + no_sub + way);
  CHECK(complaint([&] { static_cast<void>(c.try_sub(limits::min())); }) ==
        from + sub + "-9223372036854775808" + no_sub + way);
  CHECK(c.load() == 5);
}

TEST_CASE("bounded_counter has no overflow at the ends of the type") {
  bounded_counter all(0, limits::min(), limits::max());
  CHECK(all.try_add(limits::max()));
  CHECK_FALSE(all.try_add(1));
  CHECK_FALSE(all.try_add(limits::max()));
  CHECK(all.try_sub(limits::max()));
  CHECK(all.try_sub(limits::max()));
  CHECK(all.try_sub(1));
  CHECK(all.load() == limits::min());
  CHECK_FALSE(all.try_sub(1));
  CHECK_FALSE(all.try_sub(limits::max()));
  CHECK(all.try_add(limits::max()));
  CHECK(all.load() == -1);

  bounded_counter high(limits::max(), limits::max(), limits::max());
  CHECK_FALSE(high.try_add(1));
  CHECK_FALSE(high.try_sub(1));
  CHECK(high.try_add(0));
}

TEST_CASE("what was done before units were put back is visible to whoever takes them") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    bounded_counter stock(0, 0, 1);
    int data = 0;
    int seen = 0;
    support::run_threads(2, [&](std::size_t me) {
      if (me == 0) {
        data = 42;
        static_cast<void>(stock.try_add(1));
      } else {
        while (!stock.try_sub(1)) std::this_thread::yield();
        seen = data;
      }
    });
    REQUIRE(seen == 42);
  }
}
