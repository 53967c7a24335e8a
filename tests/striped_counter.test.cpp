// SPDX-License-Identifier: BSL-1.0
// striped_counter: the contract, one guarantee a case.

#include <interlock/striped_counter.hpp>

#include <bit>
#include <cstdlib>
#include <deque>
#include <limits>
#include <memory>
#include <string_view>
#include <type_traits>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/threads.hpp"

using interlock::striped_counter;
using limits = std::numeric_limits<std::int64_t>;

namespace il = interlock::detail;

static_assert(sizeof(striped_counter) == 16);
static_assert(!std::is_copy_constructible_v<striped_counter>);
static_assert(!std::is_copy_assignable_v<striped_counter>);
static_assert(!std::is_convertible_v<int, striped_counter>);

namespace {

constinit striped_counter in_static_storage(7);

// The way in for tests.
std::atomic<std::uint64_t>& state_of(striped_counter& c);
void look_again(striped_counter& c, std::uint64_t mine);
template <auto State, auto LookAgain>
struct way_in {
  friend std::atomic<std::uint64_t>& state_of(striped_counter& c) { return c.*State; }
  friend void look_again(striped_counter& c, std::uint64_t mine) { (c.*LookAgain)(mine); }
};
template struct way_in<&striped_counter::state_, &striped_counter::look_again>;

bool has_spread(striped_counter& c) { return il::has_slots(state_of(c).load()); }

// A counter that has its slots, or is one word, until threads collide.
void begin(striped_counter& c, bool spread) {
  if (spread) c.spread();
}

}  // namespace

// CTest runs this program in surroundings without restartable sequences as well.
bool without_sequences() {
  const char* const wanted = std::getenv("INTERLOCK_EXPECT_SEQUENCES");
  return wanted != nullptr && std::string_view(wanted) == "no";
}

TEST_CASE("the form of the slots is the one that this run is meant for") {
  if (without_sequences() || support::sanitized) {
    CHECK_FALSE(il::restartable::available());
    CHECK(std::has_single_bit(il::restartable::rows()));
  }
  CHECK(il::restartable::rows() >= 1);
}

TEST_CASE("striped_counter starts at zero or where it is told to") {
  CHECK(striped_counter{}.load() == 0);
  CHECK(striped_counter(100).load_exact() == 100);
  CHECK(in_static_storage.load() == 7);
  in_static_storage.spread();  // and may do without being destroyed first
  CHECK(in_static_storage.load() == 7);
}

TEST_CASE("striped_counter adds and subtracts") {
  for (const bool spread : {false, true}) {
    striped_counter c(10);
    begin(c, spread);
    CHECK(has_spread(c) == spread);
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
}

TEST_CASE("striped_counter wraps past the largest value") {
  for (const bool spread : {false, true}) {
    striped_counter c(limits::max());
    begin(c, spread);
    ++c;
    CHECK(c.load() == limits::min());
    c.sub(limits::min());
    CHECK(c.load_exact() == 0);
    c.sub(limits::min());
    CHECK(c.exchange(limits::min()) == limits::min());
    --c;
    CHECK(c.load_exact() == limits::max());
  }
}

TEST_CASE("striped_counter counts in slots what is too large for one") {
  // In the portable form a slot holds 40 bits; in the other one it wraps, as the sum does.
  striped_counter c;
  c.spread();
  std::uint64_t sum = 0;
  for (int bit = 30; bit < 64; ++bit) {
    for (const std::int64_t sign : {1, -1, -1}) {
      const std::uint64_t n = (std::uint64_t{1} << bit) - 1;
      c.add(sign * static_cast<std::int64_t>(n));
      sum += static_cast<std::uint64_t>(sign) * n;
      REQUIRE(c.load() == static_cast<std::int64_t>(sum));
      REQUIRE(c.load_exact() == static_cast<std::int64_t>(sum));
    }
  }
  CHECK(c.exchange(0) == static_cast<std::int64_t>(sum));
  CHECK(c.load() == 0);
}

TEST_CASE("a second spread does nothing and no value is lost by the first") {
  striped_counter c(5);
  ++c;
  c.spread();
  const std::uint64_t state = state_of(c).load();
  ++c;
  c.spread();
  CHECK(state_of(c).load() == state);
  CHECK(c.load_exact() == 7);
}

TEST_CASE("a counter that has changed at a second look spreads") {
  striped_counter c(7);
  look_again(c, 7);
  CHECK_FALSE(has_spread(c));
  look_again(c, 6);
  CHECK(has_spread(c));
  CHECK(c.load() == 7);
}

TEST_CASE("a thread that meets nobody never spreads the counter") {
  striped_counter c;
  for (const std::int64_t n : {1, -1, 3, 4'096, 0}) {
    for (int k = 0; k < 1'000; ++k) c.add(n);
  }
  CHECK_FALSE(has_spread(c));
}

TEST_CASE("threads that collide spread the counter") {
  if (std::thread::hardware_concurrency() < 2 || without_sequences()) {
    return;  // one at a time, here or under valgrind
  }
  striped_counter c;
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> added{0};
  support::run_threads(2, [&](std::size_t) {
    std::int64_t mine = 0;
    while (!over.load(std::memory_order_relaxed)) {
      for (int k = 0; k < 10'000; ++k) ++c;
      mine += 10'000;
      if (has_spread(c)) over.store(true);
    }
    added.fetch_add(mine);
  });
  CHECK(has_spread(c));
  CHECK(c.load() == added.load());
}

TEST_CASE("a thousand striped counters cost 16 bytes each, and 8 for each processor once spread") {
  const auto spread_all = [](std::deque<striped_counter>& counters) {
    const std::size_t before = support::allocated_bytes();
    for (striped_counter& c : counters) {
      c.spread();
      ++c;
    }
    return support::allocated_bytes() - before;
  };
  std::deque<striped_counter> counters(1'000);
  const std::size_t bytes = spread_all(counters);
  for (striped_counter& c : counters) REQUIRE(has_spread(c));
  if (support::allocations() != 0) {  // else a tool has its own operator new
    CHECK(bytes > 0);
    CHECK(bytes <= 1'024 * (8 * il::restartable::rows() + 1));
  }
  // What their like gave back is used again.
  counters.clear();
  counters.resize(1'000);
  CHECK(spread_all(counters) == 0);
  for (const striped_counter& c : counters) REQUIRE(c.load() == 1);
}

TEST_CASE("No striped add is lost even when its thread ends") {
  for (const bool spread : {false, true}) {
    striped_counter c(100);
    begin(c, spread);
    for (int generation = 0; generation < 5; ++generation) {
      support::run_threads(10, [&](std::size_t) {
        for (std::size_t k = 0; k < support::rounds(20'000); ++k) ++c;
        for (std::size_t k = 0; k < support::rounds(20'000); ++k) --c;
        ++c;
      });
    }
    CHECK(c.load() == 150);
    CHECK(c.load_exact() == 150);
    CHECK(c.exchange(0) == 150);
    CHECK(c.load() == 0);
  }
}

TEST_CASE("A striped add never waits for a load_exact or an exchange") {
  for (const bool spread : {false, true}) {
    striped_counter c(10);
    begin(c, spread);
    state_of(c).fetch_add(il::one_freezer);  // one that has been preempted and never comes back
    support::run_threads(4, [&](std::size_t) {
      for (int k = 0; k < 1'000; ++k) ++c;
    });
    CHECK(c.load() == 4'010);
    CHECK(c.load_exact() == 4'010);  // nor do others of its kind
    CHECK(c.exchange(1) == 4'010);
    c.spread();
    ++c;
    CHECK(c.load_exact() == 2);
    state_of(c).fetch_sub(il::one_freezer);
    ++c;
    CHECK(c.load_exact() == 3);
  }
}

TEST_CASE("A load counts all that happened before it and counts no operation by half") {
  SECTION("before it") {
    striped_counter c;
    c.spread();
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
  SECTION("by half") {
    // Everything is a multiple of 1000 and the value never below zero: a load that took half an
    // exchange into account would show another number.
    striped_counter c;
    c.spread();
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
}

TEST_CASE("Loads of a striped counter that only grows never go backwards") {
  striped_counter c;
  c.spread();
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
  c.spread();
  std::atomic<int> turn{0};
  std::atomic<bool> over{false};
  std::size_t impossible = 0;
  const std::size_t trials = support::rounds(5'000);
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
  c.spread();
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
    begin(c, i % 2 == 0);
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

TEST_CASE("a child of fork goes on counting in slots, and exactly") {
  if (support::sanitized) return;  // they have rules of their own for threads in a child
  striped_counter c(100);
  c.spread();
  ++c;
  const std::string said = support::death_message([&] {
    const auto in_slots = [&] {
      std::uint64_t sum = 0;
      for (std::size_t row = 0; row < il::restartable::rows(); ++row) {
        const std::uint64_t slot = il::slot_of(state_of(c).load(), row).load();
        sum += il::restartable::available()
                   ? slot
                   : static_cast<std::uint64_t>(il::restartable_twin::tally(slot));
      }
      return sum;
    };
    const std::uint64_t before = in_slots();
    bool exact = c.load_exact() == 101;
    support::run_threads(2, [&](std::size_t i) {
      for (int k = 0; k < 1'000; ++k) ++c;
      if (i == 0) exact = c.load_exact() >= 1'101 && exact;
    });
    exact = c.load_exact() == 2'101 && exact;
    if (exact && in_slots() > before) std::abort();
  });
  CHECK(said != "(survived)");
  CHECK(said.find("interlock") == std::string::npos);
  CHECK(c.load_exact() == 101);
}

TEST_CASE("striped_counter may be destroyed once every call has returned") {
  for (std::size_t i = 0; i < support::rounds(50); ++i) {
    const auto c = std::make_unique<striped_counter>();
    begin(*c, i % 2 == 0);
    support::run_threads(4, [&](std::size_t) {
      for (int k = 0; k < 2'000; ++k) ++*c;
    });
    REQUIRE(c->load() == 8'000);
  }
}
