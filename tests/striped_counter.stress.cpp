// SPDX-License-Identifier: BSL-1.0
// striped_counter under threads, beside striped forms that are not exact, in the same harness.
// What needs a thread held up at one place is in striped_counter.interleaving.test.cpp.

#include <interlock/striped_counter.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

using interlock::striped_counter;

// What most striped counters do: a slot per thread, a sum over the slots, a reset slot by slot.
// The yields, now more, now fewer, stand for the slots that a larger machine has in between.
class naive_striped {
public:
  void spread() {}
  void add(std::int64_t n) { slots_[of_this_thread()].value.fetch_add(n); }

  std::int64_t load_exact() const {
    const std::int64_t first = slots_[0].value.load();
    for (std::size_t n = reads_.fetch_add(1) % 4 + 1; n != 0; --n) std::this_thread::yield();
    return first + slots_[1].value.load();
  }

  std::int64_t exchange(std::int64_t desired) {
    const std::int64_t value = load_exact();
    slots_[0].value.store(desired);
    slots_[1].value.store(0);
    return value;
  }

private:
  static std::size_t of_this_thread() {
    static std::atomic<std::size_t> next{0};
    thread_local const std::size_t mine = next.fetch_add(1) % 2;
    return mine;
  }

  struct alignas(64) slot {
    std::atomic<std::int64_t> value{0};
  };
  slot slots_[2];
  mutable std::atomic<std::size_t> reads_{0};
};

// What folly's ThreadCachedInt does: each thread counts for itself and now and then adds what it has
// to a sum for all, then sets its own to zero. A reader in between counts that twice; one that reads
// the sum before and the threads after it, not at all.
class flushing {
public:
  void spread() {}
  void add(std::int64_t n) {
    auto& mine = slots_[of_this_thread()];
    const std::int64_t value = mine.load() + n;
    mine.store(value);
    if (value < 16) return;
    flushed_.fetch_add(value);
    std::this_thread::yield();
    mine.store(0);
  }
  std::int64_t load() const { return flushed_.load() + slots_[0].load() + slots_[1].load(); }

private:
  static std::size_t of_this_thread() {
    static std::atomic<std::size_t> next{0};
    thread_local const std::size_t mine = next.fetch_add(1) % 2;
    return mine;
  }
  std::atomic<std::int64_t> flushed_{0};
  std::atomic<std::int64_t> slots_[2] = {};
};

// Two threads add one at a time, a third one loads.
// Returns: how many loads lie outside of what was done before and begun after them.
template <class Counter>
std::size_t loads_outside(std::size_t each) {
  Counter c;
  c.spread();
  std::atomic<std::int64_t> done[2]{};
  std::atomic<std::int64_t> begun[2]{};
  std::atomic<int> adding{2};
  std::size_t outside = 0;
  support::run_threads(3, [&](std::size_t i) {
    if (i < 2) {
      for (std::size_t k = 0; k < each; ++k) {
        begun[i].fetch_add(1);
        c.add(1);
        done[i].fetch_add(1);
      }
      adding.fetch_sub(1);
      return;
    }
    while (adding.load() != 0) {
      const std::int64_t low = done[0].load() + done[1].load();
      const std::int64_t value = c.load();
      const std::int64_t high = begun[0].load() + begun[1].load();
      outside += value < low || value > high ? 1U : 0U;
    }
  });
  return outside;
}

// Effects: moves the thread to another processor, if the system lets it.
void migrate([[maybe_unused]] std::size_t turn) {
#if defined(__linux__)
  thread_local cpu_set_t allowed;
  thread_local bool known = false;
  if (!known) known = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0;
  std::size_t skip = turn % static_cast<std::size_t>(CPU_COUNT(&allowed));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || skip-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    return;
  }
#endif
}

// Two threads add in two digits of the value, two others read exactly. Reads of one counter can
// be put in an order in which neither digit ever goes down.
// Returns: how many neighbours in that order contradict each other, or reads that lie outside of
//          what was done before and begun after them.
template <class Counter>
std::size_t contradictions(std::size_t reads) {
  constexpr std::int64_t digit = std::int64_t{1} << 32;
  Counter c;
  c.spread();
  std::atomic<int> readers{2};
  std::atomic<std::int64_t> done{0};
  std::atomic<std::int64_t> begun{0};
  std::atomic<std::size_t> outside{0};
  std::vector<std::int64_t> seen[2];
  support::run_threads(4, [&](std::size_t i) {
    if (i < 2) {
      const std::int64_t amount = i == 0 ? 1 : digit;
      for (unsigned k = 0; readers.load() != 0; ++k) {
        if (k % 256 == 0) std::this_thread::yield();
        begun.fetch_add(amount);
        c.add(amount);
        done.fetch_add(amount);
      }
      return;
    }
    seen[i - 2].reserve(reads);
    for (std::size_t k = 0; k < reads; ++k) {
      const std::int64_t low = done.load();
      const std::int64_t value = c.load_exact();
      const std::int64_t high = begun.load();
      const bool inside = low % digit <= value % digit && value % digit <= high % digit &&
                          low / digit <= value / digit && value / digit <= high / digit;
      outside.fetch_add(inside ? 0U : 1U);
      seen[i - 2].push_back(value);
    }
    readers.fetch_sub(1);
  });
  std::vector<std::int64_t> all = seen[0];
  all.insert(all.end(), seen[1].begin(), seen[1].end());
  std::sort(all.begin(), all.end());  // by the high digit, then by the low one
  const auto low_digit_falls = [](std::int64_t a, std::int64_t b) { return a % digit > b % digit; };
  std::size_t wrong = outside.load();
  for (std::size_t i = 1; i < all.size(); ++i) wrong += low_digit_falls(all[i - 1], all[i]);
  return wrong;
}

// One token goes round between threads: up here, down there. The true value is 0 or 1.
// Returns: how many exact reads say otherwise.
template <class Counter>
std::size_t impossible_values(std::size_t hand_overs) {
  const std::size_t apart = 2 * support::rounds(500'000);  // until the two use different stripes
  Counter c;
  c.spread();
  std::atomic<std::size_t> turn{0};
  std::atomic<std::size_t> ready{0};
  std::atomic<std::size_t> wrong{0};
  std::atomic<bool> over{false};
  support::run_threads(3, [&](std::size_t i) {
    if (i == 2) {
      while (ready.load() < 2) std::this_thread::yield();
      for (unsigned k = 0; !over.load(); ++k) {
        if (k % 16 == 0) std::this_thread::yield();
        const std::int64_t value = c.load_exact();
        wrong.fetch_add(value < 0 || value > 1 ? 1U : 0U);
      }
      return;
    }
    for (std::size_t k = 0; k < apart; ++k) c.add(k % 2 == 0 ? 1 : -1);
    ready.fetch_add(1);
    for (std::size_t k = i; k < hand_overs; k += 2) {
      while (turn.load() != k) std::this_thread::yield();
      c.add(i == 0 ? 1 : -1);
      turn.store(k + 1);
    }
    if (turn.load() == hand_overs) over.store(true);
  });
  return wrong.load();
}

// Returns: how many of the adds are in no drain, or negative if some are in two.
template <class Counter>
std::int64_t lost_in_drains(std::size_t adders, std::size_t drainers, std::size_t each) {
  Counter c;
  c.spread();
  std::atomic<std::size_t> adding{adders};
  std::atomic<std::int64_t> drained{0};
  support::run_threads(adders + drainers, [&](std::size_t i) {
    if (i < adders) {
      for (std::size_t k = 0; k < each; ++k) c.add(1);
      adding.fetch_sub(1);
      return;
    }
    while (adding.load() != 0) drained.fetch_add(c.exchange(0));
  });
  drained.fetch_add(c.exchange(0));
  return static_cast<std::int64_t>(adders * each) - drained.load();
}

template <class Trial>
bool happens_within(int attempts, Trial trial) {
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (trial()) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("striped adds of two, four and sixteen threads all arrive") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    striped_counter c;
    if (threads != 4) c.spread();
    const std::size_t each = support::rounds(2'000'000 / threads);
    support::run_threads(threads, [&](std::size_t i) {
      for (std::size_t k = 0; k < each; ++k) c.add(static_cast<std::int64_t>(i) + 1);
    });
    CHECK(c.load() == static_cast<std::int64_t>(each * threads * (threads + 1) / 2));
  }
}

TEST_CASE("striped adds of threads that come and go all arrive") {
  striped_counter c;
  const std::size_t generations = support::rounds(200);
  for (std::size_t g = 0; g < generations; ++g) {
    support::run_threads(8, [&](std::size_t) {
      for (int k = 0; k < 500; ++k) ++c;
    });
  }
  CHECK(c.load() == static_cast<std::int64_t>(generations * 8 * 500));
}

TEST_CASE("striped adds of threads that are moved between processors all arrive") {
  striped_counter c;
  c.spread();
  const std::size_t moves = support::rounds(5'000);
  constexpr std::size_t between = 200;
  std::atomic<std::int64_t> drained{0};
  support::run_threads(6, [&](std::size_t i) {
    for (std::size_t k = 0; k < moves; ++k) {
      migrate(i + k);
      for (std::size_t n = 0; n < between; ++n) c.add(1);
      if (k % 64 == i) drained.fetch_add(c.exchange(0));
    }
  });
  CHECK(drained.load() + c.load() == static_cast<std::int64_t>(6 * moves * between));
}

TEST_CASE("counters that come and go take over slots and count from zero") {
  std::atomic<std::size_t> wrong{0};
  support::run_threads(4, [&](std::size_t) {
    for (std::size_t k = 0; k < support::rounds(20'000); ++k) {
      const auto c = std::make_unique<striped_counter>(7);
      c->spread();
      for (int n = 0; n < 10; ++n) ++*c;
      const bool right = c->load() == 17 && c->exchange(3) == 17 && c->load_exact() == 3;
      wrong.fetch_add(right ? 0U : 1U);
    }
  });
  CHECK(wrong.load() == 0);
}

TEST_CASE("a striped load lies between what was done before and begun after") {
  CHECK(loads_outside<striped_counter>(support::rounds(500'000)) == 0);
}

TEST_CASE("a counter that flushes does not stay between in the same harness") {
  CHECK(happens_within(20, [] { return loads_outside<flushing>(1'000) > 0; }));
}

TEST_CASE("exact reads agree on one order of the adds") {
  CHECK(contradictions<striped_counter>(support::rounds(300'000)) == 0);
}

TEST_CASE("a plain sum over slots contradicts itself in the same harness") {
  CHECK(happens_within(20, [] { return contradictions<naive_striped>(300) > 0; }));
}

TEST_CASE("exact reads see a token in one place") {
  CHECK(impossible_values<striped_counter>(support::rounds(30'000)) == 0);
}

TEST_CASE("a plain sum over slots sees a token nowhere or twice in the same harness") {
  CHECK(happens_within(20, [] { return impossible_values<naive_striped>(10'000) > 0; }));
}

TEST_CASE("what is drained is what was added, a hundred million times") {
  CHECK(lost_in_drains<striped_counter>(2, 1, support::rounds(50'000'000)) == 0);
}

TEST_CASE("each striped add is in exactly one drain") {
  CHECK(lost_in_drains<striped_counter>(2, 1, support::rounds(1'000'000)) == 0);
  CHECK(lost_in_drains<striped_counter>(2, 2, support::rounds(300'000)) == 0);
  CHECK(lost_in_drains<striped_counter>(8, 4, support::rounds(50'000)) == 0);
}

TEST_CASE("sum and reset loses adds in the same harness") {
  CHECK(happens_within(20, [] { return lost_in_drains<naive_striped>(2, 1, 50'000) != 0; }));
}
