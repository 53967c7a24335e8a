// SPDX-License-Identifier: BSL-1.0
// watermark under threads, beside compare-then-store in the same harness.

#include <interlock/watermark.hpp>

#include <algorithm>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"
#include "support/threads.hpp"

namespace {

using interlock::watermark;

// Compare, then store: an older value that passed its comparison overwrites a newer one.
class compare_then_store {
public:
  explicit compare_then_store(std::uint64_t initial) : value_(initial) {}
  bool raise(std::uint64_t v) {
    if (v <= value_.load(std::memory_order_relaxed)) return false;
    // The round trip between reading the version and writing the row: now longer, now shorter.
    for (std::uint64_t n = v % 3 + 1; n != 0; --n) std::this_thread::yield();
    value_.store(v, std::memory_order_relaxed);
    return true;
  }
  std::uint64_t load() const { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<std::uint64_t> value_;
};

// Threads offer the numbers 1, 2, 3 ... as they draw them, each late by however long it took.
// Returns: how often an observer, or the end, showed a value below one that had been reached.
template <class Watermark>
std::size_t steps_down(std::size_t threads, std::uint64_t offers) {
  Watermark w(0);
  std::atomic<std::uint64_t> next{1};
  std::atomic<std::size_t> raising{threads};
  std::atomic<std::size_t> down{0};
  support::run_threads(threads + 1, [&](std::size_t i) {
    std::uint64_t last = 0;
    const auto look = [&] {
      const std::uint64_t value = w.load();
      if (value < last) down.fetch_add(1);
      last = value;
    };
    if (i == threads) {
      for (unsigned k = 0; raising.load() != 0; ++k) {
        if (k % 16 == 0) std::this_thread::yield();
        look();
      }
      return;
    }
    for (std::uint64_t v = next.fetch_add(1); v <= offers; v = next.fetch_add(1)) {
      w.raise(v);
      look();
      if (last < v) down.fetch_add(1);
    }
    raising.fetch_sub(1);
  });
  return down.load() + (w.load() == offers ? 0U : 1U);
}

support::detached count_when_at(const watermark<std::uint64_t>& w, std::uint64_t height,
                                std::atomic<std::size_t>& reached,
                                std::atomic<std::size_t>& too_early) {
  co_await w.async_wait_for_at_least(height);
  if (w.load() < height) too_early.fetch_add(1);
  reached.fetch_add(1);
}

support::detached wait_or_stop(const watermark<std::uint64_t>& w, std::uint64_t height,
                               support::stop_source::token stop, std::atomic<std::size_t>& reached,
                               std::atomic<std::size_t>& stopped) {
  const bool in_time = co_await w.async_wait_for_at_least(height, stop);
  (in_time ? reached : stopped).fetch_add(1);
}

support::owned wait_for_ever(const watermark<std::uint64_t>& w) {
  co_await w.async_wait_for_at_least(~std::uint64_t{0});
}

}  // namespace

TEST_CASE("a watermark never goes down whoever raises it") {
  CHECK(steps_down<watermark<std::uint64_t>>(2, support::rounds(1'000'000)) == 0);
  CHECK(steps_down<watermark<std::uint64_t>>(4, support::rounds(500'000)) == 0);
  CHECK(steps_down<watermark<std::uint64_t>>(16, support::rounds(200'000)) == 0);
}

TEST_CASE("compare then store goes down in the same harness") {
  std::size_t down = 0;
  for (int attempt = 0; attempt < 20 && down == 0; ++attempt) {
    down = steps_down<compare_then_store>(4, 5'000);
  }
  CHECK(down > 0);
}

TEST_CASE("threads that lift each other never miss a wake-up") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    watermark<std::size_t> w(0);
    const std::size_t steps = support::rounds(20'000);
    support::run_threads(threads, [&](std::size_t i) {
      for (std::size_t step = i; step < steps; step += threads) {
        w.wait_for_at_least(step);
        w.raise(step + 1);
      }
    });
    CHECK(w.load() == steps);
  }
}

TEST_CASE("two raisers at once leave nobody asleep") {
  // Both raise at the same moment, one of them past the waiters' height: whichever changes the
  // signal, everybody must wake.
  const std::size_t steps = support::rounds(5'000);
  watermark<std::size_t> w(0);
  std::atomic<std::size_t> go{0};
  support::run_threads(6, [&](std::size_t i) {
    for (std::size_t step = 1; step <= steps; ++step) {
      const std::size_t height = step * 10;
      if (i < 2) {
        while (go.load() < (step - 1) * 4) std::this_thread::yield();
        w.raise(height - i);
      } else {
        w.wait_for_at_least(i % 2 == 0 ? height : height - 1);
        go.fetch_add(1);
      }
    }
  });
  CHECK(w.load() == steps * 10);
}

TEST_CASE("waits with deadlines that keep passing see the height when it is reached") {
  watermark<std::uint64_t> w(0);
  const std::uint64_t top = support::rounds(100'000);
  std::atomic<std::size_t> wrong{0};
  support::run_threads(4, [&](std::size_t i) {
    if (i == 0) {
      for (std::uint64_t v = 1; v <= top; ++v) w.raise(v);
      return;
    }
    const auto soon = [] {
      return std::chrono::steady_clock::now() + std::chrono::microseconds(50);
    };
    for (std::uint64_t height = 1; height <= top; height += top / 50 + 1) {
      while (!w.wait_for_at_least_until(height, soon())) {
      }
      if (w.load() < height) wrong.fetch_add(1);
    }
  });
  CHECK(wrong.load() == 0);
}

TEST_CASE("a thousand coroutines and some threads wait for heights that others raise") {
  const std::size_t coroutines = 1'000;
  for (std::size_t round = 0; round < support::rounds(40); ++round) {
    watermark<std::uint64_t> w(0);
    std::atomic<std::size_t> reached{0};
    std::atomic<std::size_t> too_early{0};
    support::run_threads(6, [&](std::size_t me) {
      if (me < 2) {  // half of the coroutines each, in an order of their own
        for (std::size_t i = 0; i < coroutines / 2; ++i) {
          const std::size_t height = 1 + (i * 7 + me * 3) % coroutines;
          count_when_at(w, height, reached, too_early);
        }
      } else if (me < 4) {
        for (std::uint64_t v = me - 1; v <= coroutines; v += 2) w.raise(v);
      } else {
        for (std::uint64_t v = me; v <= coroutines; v += 100) {
          w.wait_for_at_least(v);
          if (w.load() < v) too_early.fetch_add(1);
        }
      }
    });
    w.raise(coroutines);
    REQUIRE(reached.load() == coroutines);
    REQUIRE(too_early.load() == 0);
  }
}

TEST_CASE("waits that end by their deadline or by destruction leave the others in place") {
  const std::uint64_t top = support::rounds(20'000);
  watermark<std::uint64_t> w(0);
  std::atomic<std::size_t> wrong{0};
  std::atomic<std::size_t> reached{0};
  support::run_threads(4, [&](std::size_t me) {
    if (me == 0) {
      for (std::uint64_t v = 1; v <= top; ++v) w.raise(v);
    } else if (me == 1) {
      support::start_and_destroy(top, [&] { return wait_for_ever(w); });
    } else {
      const auto soon = [me] {
        return std::chrono::steady_clock::now() + std::chrono::microseconds(me == 2 ? 0 : 20);
      };
      for (std::uint64_t height = 1; height <= top; height += 50) {
        count_when_at(w, height, reached, wrong);
        while (!w.wait_for_at_least_until(height, soon())) {
        }
        if (w.load() < height) wrong.fetch_add(1);
      }
    }
  });
  CHECK(wrong.load() == 0);
  CHECK(reached.load() == 2 * ((top + 49) / 50));
}

TEST_CASE("each of a thousand coroutines is resumed once by a stop or a raise at the same moment") {
  const std::size_t coroutines = 1'000;
  for (std::size_t round = 0; round < support::rounds(40); ++round) {
    watermark<std::uint64_t> w(0);
    std::vector<support::stop_source> sources(coroutines);
    std::atomic<std::size_t> reached{0};
    std::atomic<std::size_t> stopped{0};
    std::atomic<std::size_t> waiting{0};
    support::run_threads(3, [&](std::size_t me) {
      for (std::size_t i = 0; i < coroutines; ++i) {
        if (me == 0) {
          wait_or_stop(w, i + 1, sources[i].get_token(), reached, stopped);
          waiting.store(i + 1);
        } else {
          while (waiting.load() < i) std::this_thread::yield();  // about when it is suspended
          if (me == 1) {
            sources[i].request_stop();
          } else {
            w.raise(i + 1);
          }
        }
      }
    });
    REQUIRE(reached.load() + stopped.load() == coroutines);
  }
}
