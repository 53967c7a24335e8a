// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/wait_status.hpp - how a wait ended: the one vocabulary of everything that is awaited.

#include <cstdint>

namespace interlock {

enum class wait_status : unsigned char {
  acquired,    // what was waited for: the lock, the permits, the event
  cancelled,   // the stop token asked for it
  timed_out,   // the deadline passed
  closed,      // the object was closed, before the wait or during it
  overloaded,  // as many as may wait were waiting already
};

// Returns: the name of the status, such as "timed out".
constexpr const char* to_string(wait_status status) noexcept {
  switch (status) {
    case wait_status::acquired: return "acquired";
    case wait_status::cancelled: return "cancelled";
    case wait_status::timed_out: return "timed out";
    case wait_status::closed: return "closed";
    case wait_status::overloaded: return "overloaded";
  }
  return "no wait_status";
}

// For constructors: how many may wait at once. One more is told `overloaded` and does not wait.
struct max_waiters {
  std::uint32_t count;
};

}  // namespace interlock
