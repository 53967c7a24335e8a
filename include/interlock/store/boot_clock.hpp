// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/boot_clock.hpp - time since the machine started, its sleep included.
//
// Leases are kept by it: steady_clock stands still while a machine is suspended, and a holder that
// wakes up would believe in a lease that has ended. No clock that somebody sets has a part in it.

#include <time.h>

#include <chrono>
#include <cstdint>

namespace interlock::store {

struct boot_clock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<boot_clock>;
  static constexpr bool is_steady = true;

  // Returns: the time; steady_clock's where the system has no such clock.
  [[nodiscard]] static time_point now() noexcept {
#if defined(CLOCK_BOOTTIME)
    ::timespec seen{};
    if (::clock_gettime(CLOCK_BOOTTIME, &seen) == 0) {
      return time_point(std::chrono::seconds(seen.tv_sec) + std::chrono::nanoseconds(seen.tv_nsec));
    }
#endif
    return time_point(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace interlock::store
