// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/sleeper.hpp - a thread that waits to ask again, and that a stop wakes.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "../../inplace_stop_token.hpp"
#include "../boot_clock.hpp"
#include "backoff.hpp"
#include "local_clock.hpp"

namespace interlock::store::detail {

// Returns: between half and all of `most`, a millisecond at least and an hour at most, at random.
[[nodiscard]] inline std::chrono::nanoseconds poll_pause(std::chrono::milliseconds most) {
  const std::chrono::nanoseconds whole = std::clamp<std::chrono::milliseconds>(
      most, std::chrono::milliseconds(1), std::chrono::hours(1));
  const auto half = static_cast<std::uint64_t>(whole.count() / 2);
  const auto jitter = splitmix::of_this_thread().next() % (half + 1);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(half + jitter));
}

class sleeper {
  struct wake {
    void operator()() const noexcept {
      const std::lock_guard lock(self->guard_);
      self->woken_ = true;
      self->bell_.notify_all();
    }
    sleeper* self;
  };

public:
  explicit sleeper(inplace_stop_token stop) : callback_(stop, wake{this}) {}
  sleeper(const sleeper&) = delete;
  sleeper& operator=(const sleeper&) = delete;

  // Effects: blocks until then, or until the stop is requested.
  void until(const local_clock& clock, boot_clock::time_point then) {
    std::unique_lock lock(guard_);
    clock.wait_until(lock, bell_, then, [this] { return woken_; });
  }

private:
  std::mutex guard_;
  std::condition_variable bell_;
  bool woken_ = false;
  inplace_stop_callback<wake> callback_;
};

}  // namespace interlock::store::detail
