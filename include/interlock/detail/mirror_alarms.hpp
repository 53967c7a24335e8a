// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_alarms.hpp - who runs a mirror's jobs and when; which waits are out; who
// sends and what wakes them.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "parking.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

struct mirror_schedule {
  using time_point = std::chrono::steady_clock::time_point;
  std::function<void(std::chrono::nanoseconds, std::function<void()>)> run;  // empty: threads
  std::function<time_point()> now;                                           // empty: steady_clock
};

// The alarms that an executor has taken and not run yet are a stack: each was set because it is
// earlier than the one before. So there are no more than keys, however often one is tried again.
// Has no lock.
class mirror_alarms {
public:
  using time_point = mirror_schedule::time_point;
  struct alarm {
    time_point at{};
    time_point before{};
    std::chrono::nanoseconds delay{0};
  };

  // Returns: whether one that is out comes by then.
  bool cover(time_point due) const noexcept { return first_ <= due; }
  // Preconditions: none covers it.
  alarm begin(time_point at, time_point now) noexcept {
    const std::chrono::nanoseconds none{0};
    return {at, std::exchange(first_, at), std::max(none, at - now)};
  }
  // Effects: it has rung, or was refused. The one before it is still out if its time has not come
  //          and nobody has seen it end.
  void end(const alarm& of, time_point now) noexcept {
    if (first_ != of.at) {
      ended_ = std::max(ended_, of.at);
    } else {
      first_ = of.before > std::max(ended_, now) ? of.before : time_point::max();
    }
  }

private:
  time_point first_ = time_point::max();
  time_point ended_ = time_point::min();  // the latest that ended while an earlier one was out
};

// A thread that sends.
struct mirror_server {
  static bool is_among(const ring_of<mirror_server>& all) noexcept {
    for (mirror_server* each = all.first(); each != nullptr; each = all.after(*each)) {
      if (each->thread == this_thread()) return true;
    }
    return false;
  }

  const void* thread = this_thread();
  bool slept = false;  // and is still counted as one who sleeps
  mirror_server* next = nullptr;
  mirror_server* previous = nullptr;
};

// What those who sleep are woken by.
struct mirror_bell {
  void ring() noexcept {
    // order: relaxed: under the line's lock; a sleeper compares it
    word.store(++rings, std::memory_order_relaxed);
  }
  park_word word{0};
  std::uint32_t rings = 0;  // under the lock
};

}  // namespace interlock::detail
