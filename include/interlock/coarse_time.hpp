// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/coarse_time.hpp - the time as of the last tick, for those who ask very often.
//
// Problem     Reading a clock on every look-up costs as much as the look-up.
// Guarantee   A coarse time never goes back.
//             A coarse time is what it was advanced to last.
// Progress    Wait-free; advance_to is lock-free.
// Cost        8 bytes. now: one load.
// Lifetime    Outlives those who were given its address.
// Not for     Measuring: it stands still between two ticks.
//
// Example     coarse_time time;                               // examples/coarse_time.cpp
//             idempotency_cache<int, int> answers({.time = &time});
//             time.advance_to(coarse_time::clock());          // by an event loop's timer, say

#include <atomic>
#include <chrono>
#include <cstdint>

#include "detail/parking.hpp"

namespace interlock {

class coarse_time {
public:
  // Effects: it is what the system's coarse clock says, or `start`.
  coarse_time() noexcept : coarse_time(clock()) {}
  explicit coarse_time(std::chrono::nanoseconds start) noexcept : now_(start.count()) {}
  coarse_time(const coarse_time&) = delete;
  coarse_time& operator=(const coarse_time&) = delete;

  // Returns: the clock to advance it by: a time that never goes back, of 1 to 10 ms on Linux.
  static std::chrono::nanoseconds clock() noexcept { return detail::coarse_now(); }

  [[nodiscard]] std::chrono::nanoseconds now() const noexcept {
    // order: relaxed: a time, which says nothing of other memory
    return std::chrono::nanoseconds(now_.load(std::memory_order_relaxed));
  }
  // Effects: it is `then`, unless that has passed.
  void advance_to(std::chrono::nanoseconds then) noexcept {
    // order: relaxed: a guess, the compare_exchange tells
    std::int64_t seen = now_.load(std::memory_order_relaxed);
    while (seen < then.count()) {
      // order: relaxed/relaxed: a time, which says nothing of other memory
      if (now_.compare_exchange_weak(seen, then.count(), std::memory_order_relaxed,
                                     std::memory_order_relaxed)) {
        return;
      }
    }
  }

private:
  std::atomic<std::int64_t> now_;
};

}  // namespace interlock
