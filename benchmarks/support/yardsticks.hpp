// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the hardware and the standard library cost: the contenders that ours are compared with.

#include <atomic>
#include <cstdint>
#include <mutex>

#include "support/bench.hpp"

namespace yardstick {

struct atomic_load {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { benchmark::DoNotOptimize(word.load(std::memory_order_acquire)); }
};

struct atomic_fetch_add {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { word.fetch_add(1, std::memory_order_relaxed); }
};

// A compare-and-swap loop on one word.
struct atomic_cas {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) {
    std::int64_t seen = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
    }
  }
};

// The section that most code has: lock, change one number, unlock.
struct mutex_section {
  std::mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    benchmark::DoNotOptimize(++value);
  }
};

struct mutex_read {
  std::mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    benchmark::DoNotOptimize(value);
  }
};

}  // namespace yardstick
