// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/local_clock.hpp - the clock by which a program keeps its own deadlines:
// the machine's, or in tests one that is told what the time is.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "../boot_clock.hpp"

namespace interlock::store::detail {

class local_clock {
public:
  local_clock() = default;
  local_clock(const local_clock&) = delete;
  local_clock& operator=(const local_clock&) = delete;
  virtual ~local_clock() = default;

  [[nodiscard]] virtual boot_clock::time_point now() const { return boot_clock::now(); }

  // Returns: how long a thread may sleep that has nothing to do for `left` of this clock. Threads
  //          sleep by a clock that stands still in a machine's sleep, so they look up in between.
  [[nodiscard]] virtual std::chrono::nanoseconds nap(std::chrono::nanoseconds left) const {
    return std::min<std::chrono::nanoseconds>(left, std::chrono::milliseconds(250));
  }

  // Effects: blocks until then, or until `woken()` after a call of bell.notify_all().
  // Returns: woken().
  template <class Woken>
  bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& bell,
                  boot_clock::time_point then, Woken woken) const {
    while (!woken()) {
      const auto left = then - now();
      if (left.count() <= 0) return false;
      bell.wait_for(lock, nap(left));
    }
    return true;
  }
};

// Returns: the clock of a client that has one of its own, or the machine's.
template <class E>
[[nodiscard]] std::shared_ptr<const local_clock> clock_of(const E& client) {
  if constexpr (requires { client.local_clock(); }) {
    if (auto own = client.local_clock()) return own;
  }
  static const auto machine = std::make_shared<const local_clock>();
  return machine;
}

}  // namespace interlock::store::detail
