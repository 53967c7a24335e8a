// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/deadline.hpp - when a call has to be over: one look at the clock per call.

#include <algorithm>
#include <chrono>

#include "../call_options.hpp"

namespace interlock::store::detail {

class call_deadline {
public:
  using clock = std::chrono::steady_clock;
  using time_point = clock::time_point;

  // Effects: looks at the clock. A timeout below 0 has passed already.
  explicit call_deadline(std::chrono::milliseconds timeout) noexcept
      : begun_(clock::now()),
        at_(begun_ + std::clamp<std::chrono::milliseconds>(timeout, none, longest)) {}

  // Effects: as above, with the call's timeout, or else the client's.
  call_deadline(const call_options& call, std::chrono::milliseconds of_client) noexcept
      : call_deadline(call.timeout.count() != 0 ? call.timeout : of_client) {}

  // Returns: when the call began, without a look at the clock.
  [[nodiscard]] time_point begun() const noexcept { return begun_; }
  [[nodiscard]] time_point at() const noexcept { return at_; }
  // Returns: whether there was no time from the beginning, without a look at the clock.
  [[nodiscard]] bool hopeless() const noexcept { return at_ <= begun_; }
  [[nodiscard]] bool passed() const noexcept { return clock::now() >= at_; }
  // Returns: what is left, rounded up; 0 if it has passed.
  [[nodiscard]] std::chrono::milliseconds remaining() const noexcept {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(at_ - clock::now());
    return std::max(left, std::chrono::milliseconds(0));
  }
  // Returns: what is left, for options where 0 means the client's; below 0 if it has passed.
  [[nodiscard]] std::chrono::milliseconds timeout_left() const noexcept {
    const auto left = remaining();
    return left.count() > 0 ? left : none;
  }
  // Returns: options for a call inside this one: the same id, what is left of the time, at least
  //          a millisecond.
  [[nodiscard]] call_options rest(operation_id id = {}) const noexcept {
    return {id, std::max(remaining(), std::chrono::milliseconds(1))};
  }

private:
  static constexpr std::chrono::milliseconds none{-1};
  static constexpr std::chrono::hours longest{24 * 365};

  time_point begun_;
  time_point at_;
};

}  // namespace interlock::store::detail
