// SPDX-License-Identifier: BSL-1.0
// striped_bounded_counter: the contract, one guarantee a case.

#include <interlock/striped_bounded_counter.hpp>

#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/pages.hpp"
#include "support/threads.hpp"

using interlock::striped_bounded_counter;
using limits = std::numeric_limits<std::int64_t>;

static_assert(sizeof(striped_bounded_counter) == 56);
static_assert(!std::is_copy_constructible_v<striped_bounded_counter>);
static_assert(!std::is_copy_assignable_v<striped_bounded_counter>);
static_assert(!std::is_default_constructible_v<striped_bounded_counter>);
static_assert(noexcept(std::declval<striped_bounded_counter&>().spread()));

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

// The value in one word, and in parts from the beginning.
template <class F>
void whole_and_in_parts(std::int64_t initial, std::int64_t min, std::int64_t max, F f) {
  for (const bool parts : {false, true}) {
    CAPTURE(parts);
    striped_bounded_counter c(initial, min, max);
    if (parts) c.spread();
    f(c);
  }
}

}  // namespace

TEST_CASE("striped_bounded_counter knows its value and its bounds") {
  whole_and_in_parts(5, -10, 20, [](striped_bounded_counter& c) {
    CHECK(c.load() == 5);
    CHECK(c.load_approx() == 5);
    CHECK(c.min() == -10);
    CHECK(c.max() == 20);
  });
}

TEST_CASE("The striped value never leaves the closed range from min to max") {
  whole_and_in_parts(0, -2, 3, [](striped_bounded_counter& c) {
    CHECK(c.try_add(3));
    CHECK_FALSE(c.try_add(1));
    CHECK(c.load() == 3);
    CHECK(c.try_sub(5));
    CHECK_FALSE(c.try_sub(1));
    CHECK(c.load() == -2);
  });
  whole_and_in_parts(500, 0, 1000, [](striped_bounded_counter& c) {
    std::atomic<std::size_t> outside{0};
    std::atomic<int> busy{3};
    support::run_threads(4, [&](std::size_t i) {
      if (i == 3) {
        while (busy.load() != 0) {
          const std::int64_t seen[] = {c.load_approx(), c.load()};
          for (const std::int64_t one : seen) outside.fetch_add(one < 0 || one > 1000 ? 1U : 0U);
          std::this_thread::yield();
        }
        return;
      }
      for (std::size_t k = 0; k < support::rounds(50'000); ++k) {
        const auto n = static_cast<std::int64_t>((k + i) % 40);
        static_cast<void>((k >> (i + 6)) % 2 == 0 ? c.try_add(n) : c.try_sub(n));
      }
      busy.fetch_sub(1);
    });
    CHECK(outside.load() == 0);
  });
}

TEST_CASE("A striped request is granted whole or not at all") {
  whole_and_in_parts(5, 0, 8, [](striped_bounded_counter& c) {
    CHECK_FALSE(c.try_sub(6));
    CHECK(c.load() == 5);
    CHECK_FALSE(c.try_add(4));
    CHECK(c.load() == 5);
    CHECK(c.try_sub(5));
    CHECK_FALSE(c.try_sub(1));
    CHECK(c.try_add(8));
    CHECK(c.load() == 8);
    CHECK(c.try_add(0));
    CHECK(c.try_sub(0));
    CHECK(c.load() == 8);
  });
  whole_and_in_parts(5'000, 0, 8'000, [](striped_bounded_counter& c) {
    CHECK(c.try_sub(1));  // and is lent a part
    CHECK(c.try_add(1));
    CHECK_FALSE(c.try_sub(5'001));
    CHECK_FALSE(c.try_add(3'001));
    CHECK(c.try_sub(5'000));
    CHECK(c.load() == 0);
    CHECK(c.try_add(8'000));
    CHECK(c.load() == 8'000);
  });
}

TEST_CASE("A striped request is refused only if it did not fit at one moment during the call") {
  // Each thread holds at most two units of those that there are: always enough, always room.
  constexpr std::size_t threads = 4;
  for (const std::int64_t stock : {2 * 4, 1'000}) {
    whole_and_in_parts(stock, 0, stock, [](striped_bounded_counter& c) {
      std::atomic<std::size_t> refused{0};
      support::run_threads(threads, [&](std::size_t i) {
        for (std::size_t k = 0; k < support::rounds(50'000); ++k) {
          const std::int64_t n = k % 2 == 0 ? 1 : 2;
          if (!c.try_sub(n) || !c.try_add(n)) refused.fetch_add(1);
          if (i == 0 && k % 64 == 0) c.spread();
        }
      });
      CHECK(refused.load() == 0);
      CHECK(c.load() == c.max());
    });
  }
}

TEST_CASE("What is granted on all stripes adds up to exactly what the value changed by") {
  const auto seats = static_cast<std::int64_t>(support::rounds(200'000));
  whole_and_in_parts(seats, 0, seats, [&](striped_bounded_counter& c) {
    std::atomic<std::int64_t> sold{0};
    support::run_threads(4, [&](std::size_t i) {
      const auto n = static_cast<std::int64_t>(i % 3 + 1);
      std::int64_t mine = 0;
      while (c.try_sub(n)) mine += n;
      while (c.try_sub(1)) mine += 1;
      sold.fetch_add(mine);
    });
    CHECK(sold.load() == seats);
    CHECK(c.load() == 0);
    CHECK(c.try_add(seats));
  });
}

TEST_CASE("A load returns the striped value at one moment during the call") {
  // One thread goes up and down by turns: the value is 500 or 501 at each moment. A sum of parts
  // at different moments would be more or less: the thread moves from processor to processor.
  striped_bounded_counter c(500, 0, 1'000);
  c.spread();
  std::atomic<bool> over{false};
  std::size_t wrong = 0;
  support::run_threads(2, [&](std::size_t i) {
    if (i == 0) {
      for (std::size_t k = 0; k < support::rounds(50'000); ++k) {
        static_cast<void>(c.try_add(1));
        if (k % 64 == 0) std::this_thread::yield();
        static_cast<void>(c.try_sub(1));
      }
      over.store(true);
      return;
    }
    while (!over.load()) {
      const std::int64_t seen = c.load();
      wrong += seen == 500 || seen == 501 ? 0U : 1U;
      std::this_thread::yield();
    }
  });
  CHECK(wrong == 0);
  CHECK(c.load() == 500);
}

TEST_CASE("striped_bounded_counter: a refusal after a refusal writes nothing") {
  support::paged<striped_bounded_counter> c(5, 0, 8);
  c->spread();
  CHECK_FALSE(c->try_sub(6));
  REQUIRE(c.forbid_writes());
  CHECK_FALSE(c->try_sub(6));
  CHECK_FALSE(c->try_add(4));
  CHECK_FALSE(c->try_sub(limits::max()));
  CHECK(c->load() == 5);
  CHECK(c->load_approx() == 5);
}

TEST_CASE("striped_bounded_counter refuses bounds that make no sense and says what to do") {
  const std::string order =
      "interlock::striped_bounded_counter(initial, min, max): needs min <= initial <= max, got "
      "initial ";
  using counter = striped_bounded_counter;
  CHECK(complaint([] { counter(0, 100, 50); }) == order + "0, min 100, max 50");
  CHECK(complaint([] { counter(0, 1, -1); }) == order + "0, min 1, max -1");
  CHECK(complaint([] { counter(-1, 0, 10); }) == order + "-1, min 0, max 10");
  CHECK(complaint([] { counter(11, 0, 10); }) == order + "11, min 0, max 10");
  CHECK(complaint([] { counter(3, 3, 3); }) == "(none)");
}

TEST_CASE("striped_bounded_counter refuses negative amounts and says what to do") {
  const std::string from = "interlock::striped_bounded_counter::";
  const std::string add = "try_add(n): needs n >= 0, got ", no_add = "; use try_sub for the ";
  const std::string sub = "try_sub(n): needs n >= 0, got ", no_sub = "; use try_add for the ";
  const std::string way = "opposite direction";
  whole_and_in_parts(500, 0, 1'000, [&](striped_bounded_counter& c) {
    CHECK(complaint([&] { (void)c.try_add(-1); }) == from + add + "-1" + no_add + way);
    CHECK(complaint([&] { (void)c.try_sub(-7); }) == from + sub + "-7" + no_sub + way);
    CHECK(complaint([&] { (void)c.try_sub(limits::min()); }) ==
          from + sub + "-9223372036854775808" + no_sub + way);
    CHECK(c.load() == 500);
  });
}

TEST_CASE("striped_bounded_counter has no overflow at the ends of the type") {
  whole_and_in_parts(0, limits::min(), limits::max(), [](striped_bounded_counter& all) {
    CHECK(all.load() == 0);
    CHECK(all.try_add(limits::max()));
    CHECK_FALSE(all.try_add(1));
    CHECK_FALSE(all.try_add(limits::max()));
    CHECK(all.load_approx() == limits::max());
    CHECK(all.try_sub(limits::max()));
    CHECK(all.try_sub(limits::max()));
    CHECK(all.try_sub(1));
    CHECK(all.load() == limits::min());
    CHECK_FALSE(all.try_sub(1));
    CHECK_FALSE(all.try_sub(limits::max()));
    CHECK(all.try_add(limits::max()));
    CHECK(all.load() == -1);
    CHECK(all.load_approx() == -1);
  });
  whole_and_in_parts(limits::max(), limits::max(), limits::max(), [](striped_bounded_counter& c) {
    CHECK_FALSE(c.try_add(1));
    CHECK_FALSE(c.try_sub(1));
    CHECK(c.try_add(0));
  });
  whole_and_in_parts(limits::max(), 0, limits::max(), [](striped_bounded_counter& c) {
    CHECK_FALSE(c.try_add(1));
    CHECK(c.try_sub(limits::max()));
    CHECK_FALSE(c.try_sub(1));
    CHECK(c.try_add(limits::max()));
    CHECK(c.load() == limits::max());
  });
}

TEST_CASE("striped_bounded_counter takes amounts of more than 32 bits beside small ones") {
  constexpr std::int64_t large = (std::int64_t{1} << 32) + 1;
  whole_and_in_parts(0, -3 * large, 3 * large, [](striped_bounded_counter& c) {
    std::int64_t expected = 0;
    for (const std::int64_t n : {large - 2, large - 1, large, std::int64_t{1}, 2 * large}) {
      CHECK(c.try_sub(n));  // as much as fits in a slot, one more, and so on
      CHECK(c.try_add(1));
      CHECK(c.try_add(n));
      expected += 1;
      CHECK(c.load() == expected);
    }
    CHECK_FALSE(c.try_add(3 * large));
    CHECK(c.try_sub(3 * large));
    CHECK(c.load() == expected - 3 * large);
  });
}

TEST_CASE("striped_bounded_counter takes what its slots hold back before they are full") {
  // One processor takes far more than a slot can hold in room.
  whole_and_in_parts(limits::max(), 0, limits::max(), [](striped_bounded_counter& c) {
    constexpr std::int64_t n = 1 << 20;
    bool granted = true;
    for (int i = 0; i < 50'000; ++i) granted = c.try_sub(n) && granted;
    CHECK(granted);
    CHECK(c.load() == limits::max() - 50'000 * n);
    CHECK(c.try_add(50'000 * n));
  });
}

TEST_CASE("striped_bounded_counter keeps the part of a thread that has ended") {
  striped_bounded_counter c(10'000, 0, 20'000);
  c.spread();
  for (std::size_t i = 0; i < 20; ++i) {
    support::run_threads(4, [&](std::size_t) {
      static_cast<void>(c.try_sub(1));
      static_cast<void>(c.try_add(2));
    });
  }
  CHECK(c.load() == 10'080);
  CHECK(c.try_sub(10'080));
}

TEST_CASE("a thousand striped_bounded_counters in parts do not mix their units") {
  std::vector<std::unique_ptr<striped_bounded_counter>> all;
  for (std::int64_t i = 0; i < 1'000; ++i) {
    all.push_back(std::make_unique<striped_bounded_counter>(1'000 + i, 0, 4'000));
    all.back()->spread();
  }
  for (int round = 0; round < 2; ++round) {
    for (auto& one : all) CHECK(one->try_sub(3));
  }
  bool right = true;
  for (std::size_t i = 0; i < all.size(); i += 2) all[i].reset();  // gives its slots back
  for (std::size_t i = 0; i < all.size(); i += 2) {
    all[i] = std::make_unique<striped_bounded_counter>(100, 0, 200);
    all[i]->spread();
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::int64_t expected = i % 2 == 0 ? 100 : 1'000 + static_cast<std::int64_t>(i) - 6;
    right = right && all[i]->load_approx() == expected && all[i]->load() == expected;
  }
  CHECK(right);
}

TEST_CASE("what was done before units were put on one stripe is visible to whoever takes them") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    striped_bounded_counter stock(0, 0, 1'000);
    if (i % 2 == 0) stock.spread();
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
