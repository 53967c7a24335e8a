// SPDX-License-Identifier: BSL-1.0
// striped_counter: the contract, one guarantee a case.

#include <interlock/striped_counter.hpp>

#include <limits>
#include <memory>
#include <type_traits>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::striped_counter;
using limits = std::numeric_limits<std::int64_t>;

static_assert(sizeof(striped_counter) <= 24);
static_assert(!std::is_copy_constructible_v<striped_counter>);
static_assert(!std::is_copy_assignable_v<striped_counter>);
static_assert(!std::is_convertible_v<int, striped_counter>);

namespace {

constinit striped_counter in_static_storage(7);

// Effects: lets this thread collide with the others that call it, so that the counter spreads.
void collide(striped_counter& c) {
  for (std::size_t i = 0; i < support::rounds(50'000); ++i) ++c;
  for (std::size_t i = 0; i < support::rounds(50'000); ++i) --c;
}

}  // namespace

TEST_CASE("striped_counter starts at zero or where it is told to") {
  CHECK(striped_counter{}.load() == 0);
  CHECK(striped_counter(100).load_exact() == 100);
  CHECK(in_static_storage.load() == 7);
}

TEST_CASE("striped_counter adds and subtracts") {
  striped_counter c(10);
  c.add(5);
  c.sub(3);
  c += 2;
  c -= 4;
  ++c;
  ++c;
  --c;
  CHECK(c.load() == 11);
  c.add(-20);
  CHECK(c.load_exact() == -9);
  c.sub(-20);
  CHECK(c.exchange(1) == 11);
  CHECK(c.load() == 1);
  CHECK(c.exchange(limits::max()) == 1);
  CHECK(c.load_exact() == limits::max());
}

TEST_CASE("striped_counter wraps past the largest value") {
  striped_counter c(limits::max());
  ++c;
  CHECK(c.load() == limits::min());
  c.sub(limits::min());
  CHECK(c.load_exact() == 0);
  c.sub(limits::min());
  CHECK(c.exchange(limits::min()) == limits::min());
  --c;
  CHECK(c.load_exact() == limits::max());
}

TEST_CASE("No striped add is lost even when its thread ends") {
  striped_counter c(100);
  for (int generation = 0; generation < 5; ++generation) {
    support::run_threads(10, [&](std::size_t) {
      collide(c);
      ++c;
    });
  }
  CHECK(c.load() == 150);
  CHECK(c.load_exact() == 150);
  CHECK(c.exchange(0) == 150);
  CHECK(c.load() == 0);
}

TEST_CASE("A load counts everything that happened before it") {
  striped_counter c;
  std::atomic<std::int64_t> done{0};
  std::atomic<int> adding{2};
  std::size_t too_low = 0;
  support::run_threads(3, [&](std::size_t i) {
    if (i < 2) {
      for (std::size_t k = 0; k < support::rounds(200'000); ++k) {
        ++c;
        done.fetch_add(1);
      }
      adding.fetch_sub(1);
      return;
    }
    while (adding.load() != 0) {
      const std::int64_t before = done.load();
      too_low += c.load() < before ? 1U : 0U;
    }
  });
  CHECK(too_low == 0);
}

TEST_CASE("A load counts each overlapping operation wholly or not at all") {
  // Everything is a multiple of 1000 and the value never below zero: a load that took half an
  // exchange into account would show another number.
  striped_counter c;
  std::atomic<int> busy{3};
  std::size_t wrong = 0;
  const std::size_t each = support::rounds(100'000);
  support::run_threads(4, [&](std::size_t i) {
    if (i < 3) {
      for (std::size_t k = 0; k < each; ++k) {
        if (i < 2) {
          c.add(1000);
        } else {
          static_cast<void>(c.exchange(0));
        }
      }
      busy.fetch_sub(1);
      return;
    }
    const std::int64_t most = static_cast<std::int64_t>(2 * each) * 1000;
    while (busy.load() != 0) {
      const std::int64_t value = c.load();
      wrong += value < 0 || value > most || value % 1000 != 0 ? 1U : 0U;
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("Loads of a counter that only grows never go backwards") {
  striped_counter c;
  std::atomic<int> adding{2};
  std::size_t backwards = 0;
  support::run_threads(3, [&](std::size_t i) {
    if (i < 2) {
      for (std::size_t k = 0; k < support::rounds(200'000); ++k) ++c;
      adding.fetch_sub(1);
      return;
    }
    std::int64_t last = 0;
    for (bool exact = false; adding.load() != 0; exact = !exact) {
      const std::int64_t value = exact ? c.load_exact() : c.load();
      backwards += value < last ? 1U : 0U;
      last = value;
    }
  });
  CHECK(backwards == 0);
}

TEST_CASE("A load_exact returns a value that the counter had during the call") {
  // One token goes round: up in one thread, down in the next. The counter is 0 or 1, always.
  striped_counter c;
  std::atomic<int> turn{0};
  std::atomic<bool> over{false};
  std::size_t impossible = 0;
  const std::size_t trials = support::rounds(20'000);
  support::run_threads(3, [&](std::size_t i) {
    if (i == 2) {
      for (unsigned k = 0; !over.load(); ++k) {
        if (k % 16 == 0) std::this_thread::yield();
        const std::int64_t value = c.load_exact();
        impossible += value < 0 || value > 1 ? 1U : 0U;
      }
      return;
    }
    const int me = static_cast<int>(i);
    for (std::size_t k = 0; k < trials; ++k) {
      while (turn.load() != me) std::this_thread::yield();
      c.add(i == 0 ? 1 : -1);
      turn.store(1 - me);
    }
    if (i == 1) over.store(true);
  });
  CHECK(impossible == 0);
  CHECK(c.load_exact() == 0);
}

TEST_CASE("A striped exchange takes the exact value and loses no concurrent add") {
  striped_counter c;
  const std::size_t each = support::rounds(200'000);
  std::atomic<int> adding{2};
  std::atomic<std::int64_t> drained{0};
  support::run_threads(4, [&](std::size_t i) {
    if (i < 2) {
      for (std::size_t k = 0; k < each; ++k) ++c;
      adding.fetch_sub(1);
      return;
    }
    while (adding.load() != 0) drained.fetch_add(c.exchange(0));
  });
  CHECK(drained.load() + c.exchange(0) == static_cast<std::int64_t>(2 * each));
}

TEST_CASE("what was done before an add is visible to whoever counts it") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    striped_counter c;
    int written[3] = {0, 0, 0};
    int seen = 0;
    support::run_threads(4, [&](std::size_t me) {
      if (me < 3) {
        written[me] = 1;
        ++c;
        return;
      }
      while (c.load() != 3) std::this_thread::yield();
      seen = written[0] + written[1] + written[2];
    });
    REQUIRE(seen == 3);
  }
}

TEST_CASE("striped_counter may be destroyed once every call has returned") {
  for (std::size_t i = 0; i < support::rounds(50); ++i) {
    const auto c = std::make_unique<striped_counter>();
    support::run_threads(4, [&](std::size_t) {
      for (int k = 0; k < 2'000; ++k) ++*c;
    });
    REQUIRE(c->load() == 8'000);
  }
}
