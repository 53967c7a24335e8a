// SPDX-License-Identifier: BSL-1.0
// counter under threads, beside the naive form in the same harness.

#include <interlock/counter.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

// Load, add one, store: each step atomic, the whole not.
class naive_counter {
public:
  void operator++() {
    const std::int64_t seen = value_.load(std::memory_order_relaxed);
    std::this_thread::yield();  // the look-up between a handler's read and its write
    value_.store(seen + 1, std::memory_order_relaxed);
  }
  std::int64_t load() const { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<std::int64_t> value_{0};
};

// Returns: how many of the increments are missing afterwards.
template <class Counter>
std::int64_t lost(std::size_t threads, std::size_t each) {
  Counter c;
  support::run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) ++c;
  });
  return static_cast<std::int64_t>(threads * each) - c.load();
}

}  // namespace

TEST_CASE("increments of two, four and sixteen threads all arrive") {
  CHECK(lost<interlock::counter<>>(2, support::rounds(1'000'000)) == 0);
  CHECK(lost<interlock::counter<>>(4, support::rounds(500'000)) == 0);
  CHECK(lost<interlock::counter<>>(16, support::rounds(100'000)) == 0);
}

TEST_CASE("the naive counter loses increments in the same harness") {
  std::int64_t missing = 0;
  for (int attempt = 0; attempt < 20 && missing == 0; ++attempt) {
    missing = lost<naive_counter>(4, 10'000);
  }
  CHECK(missing > 0);
}

TEST_CASE("a value read lies between what was done before the read and what was begun after") {
  interlock::counter<> c;
  std::atomic<std::int64_t> done[2]{};
  std::atomic<std::int64_t> begun[2]{};
  std::atomic<int> running{2};
  std::size_t outside = 0;
  std::size_t backwards = 0;
  support::run_threads(3, [&](std::size_t i) {
    if (i < 2) {
      for (std::size_t k = 0; k < support::rounds(500'000); ++k) {
        begun[i].fetch_add(1);
        ++c;
        done[i].fetch_add(1);
      }
      running.fetch_sub(1);
      return;
    }
    std::int64_t last = 0;
    while (running.load() != 0) {
      const std::int64_t low = done[0].load() + done[1].load();
      const std::int64_t value = c.load();
      const std::int64_t high = begun[0].load() + begun[1].load();
      outside += value < low || value > high ? 1U : 0U;
      backwards += value < last ? 1U : 0U;
      last = value;
    }
  });
  CHECK(outside == 0);
  CHECK(backwards == 0);
}
