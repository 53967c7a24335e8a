// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/backoff.hpp - how long to wait before the next attempt: longer each time,
// never in step with others.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>

namespace interlock::store::detail {

// Numbers that differ between threads and processes: splitmix64, not for secrets.
class splitmix {
public:
  explicit splitmix(std::uint64_t seed) noexcept : state_(seed) {}

  // Returns: a generator of this thread, which begins anywhere.
  [[gnu::noinline]] static splitmix& of_this_thread() {
    thread_local splitmix instance(from_system());
    return instance;
  }

  [[nodiscard]] std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }

private:
  static std::uint64_t from_system() {
    std::random_device source;
    return (std::uint64_t{source()} << 32U) | std::uint64_t{source()};
  }

  std::uint64_t state_;
};

class backoff {
public:
  using duration = std::chrono::microseconds;

  // Preconditions: 0 < first <= most.
  backoff(duration first, duration most) noexcept : first_(first), most_(most), step_(first) {}

  // Returns: between half and all of the step, which doubles with each call, up to `most`.
  [[nodiscard]] duration next() {
    const auto whole = static_cast<std::uint64_t>(step_.count());
    step_ = step_ > most_ / 2 ? most_ : step_ * 2;
    const std::uint64_t half = whole / 2;
    const std::uint64_t jitter = splitmix::of_this_thread().next() % (whole - half + 1);
    return duration(static_cast<duration::rep>(half + jitter));
  }

  // Effects: the next step is the first again.
  void reset() noexcept { step_ = first_; }

private:
  duration first_;
  duration most_;
  duration step_;
};

// Effects: blocks until then.
inline void pause_until(std::chrono::steady_clock::time_point then) {
  std::mutex mutex;
  std::condition_variable nobody;
  std::unique_lock lock(mutex);
  nobody.wait_until(lock, then, [then] { return std::chrono::steady_clock::now() >= then; });
}

// Effects: blocks for the next step of the back-off, but not past the deadline.
// Returns: false, at once, if the deadline comes first.
[[nodiscard]] inline bool pause(backoff& pace, std::chrono::steady_clock::time_point deadline) {
  const auto then = std::chrono::steady_clock::now() + pace.next();
  if (then >= deadline) return false;
  pause_until(then);
  return true;
}

}  // namespace interlock::store::detail
