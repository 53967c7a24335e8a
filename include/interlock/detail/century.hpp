// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/century.hpp - times that somebody gives, milliseconds::max() too, as they may be
// added to a clock's in nanoseconds.

#include <algorithm>
#include <chrono>

namespace interlock::detail {

inline constexpr std::chrono::milliseconds century = std::chrono::hours(24 * 36500);

// Returns: the time, a century at most, before or after.
[[nodiscard]] constexpr std::chrono::milliseconds within_a_century(
    std::chrono::milliseconds time) noexcept {
  return std::clamp(time, -century, century);
}

}  // namespace interlock::detail
