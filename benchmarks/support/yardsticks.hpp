// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the hardware and the standard library cost: the contenders that ours are compared with.

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "support/bench.hpp"

namespace yardstick {

struct atomic_load {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { benchmark::DoNotOptimize(word.load(std::memory_order_acquire)); }
  void write(unsigned) { word.fetch_add(1, std::memory_order_relaxed); }
};

struct atomic_fetch_add {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { word.fetch_add(1, std::memory_order_relaxed); }
};

// One word per lane, each on a line of its own: what per-thread slots would cost if choosing the
// slot were free.
struct own_line_fetch_add {
  struct alignas(128) slot {
    std::atomic<std::int64_t> word{0};
  };
  std::array<slot, 64> slots{};
  void operator()(unsigned lane) { slots[lane % 64].word.fetch_add(1, std::memory_order_relaxed); }
};

inline void cas_add(std::atomic<std::int64_t>& word, std::int64_t by) {
  std::int64_t seen = word.load(std::memory_order_relaxed);
  while (!word.compare_exchange_weak(seen, seen + by, std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
  }
}

// A compare-and-swap loop on one word.
struct atomic_cas {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { cas_add(word, 1); }
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
