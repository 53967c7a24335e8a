// SPDX-License-Identifier: BSL-1.0
// striped_bounded_counter under threads, beside parts that oversell and parts that refuse early.

#include <interlock/striped_bounded_counter.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/specifications.hpp>

#include <array>
#include <vector>

#include "support/catch.hpp"
#include "support/rseq.hpp"
#include "support/threads.hpp"

namespace {

using interlock::striped_bounded_counter;
using namespace interlock::testing;  // NOLINT: bounded_call and what checks it

// What the naive forms share: a part for each of four threads.
class parts {
public:
  explicit parts(std::int64_t initial) {
    for (auto& one : mine_) one.units.store(initial / 4);
    mine_[0].units.fetch_add(initial % 4);
  }
  std::int64_t load() const {
    std::int64_t sum = 0;
    for (const auto& one : mine_) sum += one.units.load();
    return sum;
  }

protected:
  struct alignas(64) part {
    std::atomic<std::int64_t> units{0};
  };
  std::array<part, 4> mine_;
};

// As the limited add of Linux's percpu_counter would be without its lock: sums all parts, decides,
// and changes its own part.
class sums_then_takes : public parts {
public:
  using parts::parts;
  bool try_sub(std::size_t me, std::int64_t n) {
    if (load() < n) return false;
    if (++calls_ % 64 == 0) std::this_thread::yield();  // the slots of a larger machine
    mine_[me].units.fetch_sub(n);
    return true;
  }

private:
  std::atomic<unsigned> calls_{0};
};

// Takes from its own part alone, and so refuses while others have plenty.
class own_part_only : public parts {
public:
  using parts::parts;
  bool try_sub(std::size_t me, std::int64_t n) {
    std::int64_t seen = mine_[me].units.load();
    while (seen >= n) {
      if (mine_[me].units.compare_exchange_weak(seen, seen - n)) return true;
    }
    return false;
  }
  bool try_add(std::size_t me, std::int64_t n) {
    mine_[me].units.fetch_add(n);
    return true;
  }
};

class ours {
public:
  explicit ours(std::int64_t initial, std::int64_t max) : c_(initial, 0, max) {}
  explicit ours(std::int64_t initial) : ours(initial, initial) {}
  bool try_sub(std::size_t, std::int64_t n) { return c_.try_sub(n); }
  bool try_add(std::size_t, std::int64_t n) { return c_.try_add(n); }
  std::int64_t load() const { return c_.load(); }
  void spread() { c_.spread(); }

private:
  striped_bounded_counter c_;
};

struct sale {
  std::int64_t sold;
  std::int64_t left;
  std::size_t granted_after_refusal;
};

// Every thread takes units until it is refused, then goes on for a while: after a refusal of one
// unit there is none, and nobody puts any back, so whoever begins after that has to be refused.
template <class Counter>
sale sell_out(std::size_t threads, std::int64_t stock) {
  Counter c(stock);
  std::atomic<std::int64_t> sold{0};
  std::atomic<bool> refused{false};
  std::atomic<std::size_t> late{0};
  support::run_threads(threads, [&](std::size_t i) {
    const auto n = static_cast<std::int64_t>(i % 3 + 1);
    std::int64_t mine = 0;
    while (c.try_sub(i % 4, n)) mine += n;
    for (int more = 0; more < 50;) {
      const bool over = refused.load();
      if (c.try_sub(i % 4, 1)) {
        mine += 1;
        if (over) late.fetch_add(1);
      } else {
        refused.store(true);
        ++more;
      }
    }
    sold.fetch_add(mine);
  });
  return {sold.load(), c.load(), late.load()};
}

template <class Trial>
bool happens_within(int attempts, Trial trial) {
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (trial()) return true;
  }
  return false;
}

// Requests of four threads on a counter, as a history, and whether some order explains it.
template <class Counter>
verdict explained(Counter& c, bounded_state from, std::int64_t most, unsigned seed) {
  constexpr std::size_t threads = 4;
  ticket_clock clock;
  history<bounded_call> calls(clock, threads);
  support::run_threads(threads, [&](std::size_t me) {
    std::uint64_t random = seed * 4 + me + 1;
    for (std::size_t k = 0; k < 10; ++k) {
      random = random * 6364136223846793005U + 1442695040888963407U;
      const auto amount = static_cast<std::int64_t>(random >> 33U) % most + 1;
      const std::uint64_t what = random >> 60U;
      bounded_call asked{bounded_call::kind::load};
      if (what > 1) asked = {what > 8 ? bounded_call::kind::add : bounded_call::kind::sub, amount};
      calls.record(me, asked, [&](bounded_call& call) {
        switch (call.what) {
          case bounded_call::kind::add: call.granted = c.try_add(me, call.amount); break;
          case bounded_call::kind::sub: call.granted = c.try_sub(me, call.amount); break;
          case bounded_call::kind::load: call.seen = c.load(); break;
        }
      });
      if (random % 16 == 0) std::this_thread::yield();
    }
  });
  return linearizable(calls.operations(), from);
}

}  // namespace

TEST_CASE("a striped stock is sold out to the last unit and nobody is refused before that") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    const auto stock = static_cast<std::int64_t>(support::rounds(20'000'003));
    const sale end = sell_out<ours>(threads, stock);
    CHECK(end.sold == stock);
    CHECK(end.left == 0);
    CHECK(end.granted_after_refusal == 0);
  }
  for (std::size_t i = 0; i < support::rounds(200); ++i) {
    const sale end = sell_out<ours>(4, 1'000);
    REQUIRE(end.sold == 1'000);
    REQUIRE(end.granted_after_refusal == 0);
  }
}

TEST_CASE("threads moved from processor to processor in the midst of requests lose no unit") {
  constexpr std::size_t threads = 4;
  const auto stock = static_cast<std::int64_t>(support::rounds(30'000'003));
  striped_bounded_counter c(stock, 0, 2 * stock);
  c.spread();
  std::vector<pid_t> numbers(threads);
  std::vector<std::int64_t> change(threads);
  std::atomic<std::size_t> known{0};
  std::atomic<bool> over{false};
  support::run_threads(threads + 1, [&](std::size_t i) {
    if (i == threads) {
      while (known.load() < threads) std::this_thread::yield();
      support::mover moving(numbers);
      while (!over.load()) {  // its own requests, too, take all parts back
        static_cast<void>(c.load());
        std::this_thread::yield();
      }
      return;
    }
    numbers[i] = support::thread_number();
    known.fetch_add(1);
    std::int64_t mine = 0;
    for (std::int64_t k = 0; k < stock / 2 && !over.load(); ++k) {
      mine += c.try_add(1) ? 1 : 0;
      mine -= c.try_sub(3) ? 3 : 0;
    }
    change[i] = mine;
    over.store(true);
  });
  std::int64_t sum = stock;
  for (const std::int64_t one : change) sum += one;
  CHECK(c.load() == sum);
  std::int64_t sold = 0;
  while (c.try_sub(1'000)) sold += 1'000;
  while (c.try_sub(1)) sold += 1;
  CHECK(sold == sum);
}

TEST_CASE("a sum of parts and then a change sells what it does not have in the same harness") {
  CHECK(happens_within(50, [] { return sell_out<sums_then_takes>(4, 1'000).sold > 1'000; }));
}

TEST_CASE("parts that do not ask each other refuse what is there in the same harness") {
  CHECK(happens_within(50, [] {
    const sale end = sell_out<own_part_only>(2, 1'000);
    return end.left > 0 || end.granted_after_refusal > 0;
  }));
}

TEST_CASE("striped requests in both directions stay within both bounds and add up") {
  constexpr std::int64_t max = 2'000;
  striped_bounded_counter c(max / 2, 0, max);
  std::atomic<std::int64_t> change{0};
  std::atomic<std::size_t> outside{0};
  std::atomic<int> busy{4};
  support::run_threads(6, [&](std::size_t i) {
    if (i >= 4) {  // takes all parts back, again and again
      while (busy.load() != 0) {
        const std::int64_t seen = i == 4 ? c.load() : c.load_approx();
        outside.fetch_add(seen < 0 || seen > max ? 1U : 0U);
        if (i == 5) c.spread();
        std::this_thread::yield();
      }
      return;
    }
    std::int64_t mine = 0;
    for (std::size_t k = 0; k < support::rounds(2'000'000); ++k) {
      const auto n = static_cast<std::int64_t>(k % 7 == 0 ? 100 : k % 3);
      // Down for some time, then up: it reaches both bounds.
      if ((k >> 12U) % 2 == i / 2) {
        mine += c.try_add(n) ? n : 0;
      } else {
        mine -= c.try_sub(n) ? n : 0;
      }
    }
    change.fetch_add(mine);
    busy.fetch_sub(1);
  });
  CHECK(outside.load() == 0);
  CHECK(c.load() == max / 2 + change.load());
}

TEST_CASE("with a unit for everybody nobody is refused by stripes") {
  constexpr std::size_t threads = 16;
  for (const std::int64_t stock : {16, 400}) {
    striped_bounded_counter c(stock, 0, stock);
    std::atomic<std::size_t> refused{0};
    support::run_threads(threads, [&](std::size_t i) {
      for (std::size_t k = 0; k < support::rounds(100'000); ++k) {
        if (!c.try_sub(1)) refused.fetch_add(1);
        if (k % 128 == i) std::this_thread::yield();  // and goes on on another processor
        if (!c.try_add(1)) refused.fetch_add(1);
        if (i == 0 && k % 256 == 0) c.spread();
      }
    });
    CHECK(refused.load() == 0);
    CHECK(c.load() == stock);
  }
}

TEST_CASE("a token of one unit handed on between threads is always there") {
  // The receiver is told after the unit was put: it must find it, wherever the unit is.
  striped_bounded_counter c(0, 0, 1'000);
  std::atomic<std::size_t> turn{0};
  std::atomic<std::size_t> missing{0};
  const std::size_t rounds = support::rounds(100'000);
  support::run_threads(2, [&](std::size_t me) {
    for (std::size_t k = me; k < rounds; k += 2) {
      while (turn.load() != k) std::this_thread::yield();
      if (k > 0 && !c.try_sub(1)) missing.fetch_add(1);
      if (k % 32 == 0) c.spread();
      if (!c.try_add(1)) missing.fetch_add(1);
      turn.store(k + 1);
    }
  });
  CHECK(missing.load() == 0);
  CHECK(c.load() == 1);
}

TEST_CASE("some order of the requests explains every answer of a striped bounded counter") {
  std::string failure;
  for (unsigned i = 0; i < support::rounds(2'000) && failure.empty(); ++i) {
    const bounded_state from = i % 2 == 0 ? bounded_state{5, 0, 9} : bounded_state{300, 0, 600};
    ours c(from.value, from.max);
    if (i % 4 != 0) c.spread();
    const verdict found = explained(c, from, from.max / 3, i);
    if (!found) failure = found.text();
  }
  CAPTURE(failure);
  CHECK(failure.empty());
}

TEST_CASE("no order explains the answers of parts that do not ask each other") {
  CHECK(happens_within(50, [i = 0U]() mutable {
    own_part_only c(5);
    return !explained(c, {5, 0, 1'000}, 3, i++);
  }));
}
