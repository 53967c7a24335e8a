// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/lease_mutex.hpp - the ways in which the mutexes of stores may be locked.

#include <algorithm>
#include <chrono>
#include <utility>

#include "lease_lock.hpp"

namespace interlock::store::detail {

template <class Lease>
class lease_mutex {
public:
  using guard = lease_guard<Lease>;
  using result = outcome<guard, lease_busy>;

  // Effects: waits until the lock is free, how.wait has passed or the stop is requested.
  // Returns: a guard; conflict if it was held to the end of the wait.
  result lock(const lock_options& how = {}, inplace_stop_token stop = {}) const {
    return lock_.lock(how, lock_.limit(how.wait), stop);
  }
  result lock(inplace_stop_token stop) const { return lock({}, stop); }
  // Effects: the same, but the wait ends then at the latest.
  result lock_until(std::chrono::steady_clock::time_point deadline, lock_options how = {},
                    inplace_stop_token stop = {}) const {
    return lock(waits_until(deadline, how), stop);
  }
  // Effects: asks once.
  result try_lock(const lock_options& how = {}) const { return lock_.lock(how, lock_.now(), {}); }

  // Return: tasks of what the functions above return. The stop ends the wait within a poll.
  [[nodiscard("write co_await")]] task<result> async_lock(lock_options how = {},
                                                          inplace_stop_token stop = {}) const {
    return lease_lock<Lease>::async_lock(lock_, how, lock_.limit(how.wait), stop);
  }
  [[nodiscard("write co_await")]] task<result> async_lock(inplace_stop_token stop) const {
    return async_lock({}, stop);
  }
  [[nodiscard("write co_await")]] task<result> async_lock_until(
      std::chrono::steady_clock::time_point deadline, lock_options how = {},
      inplace_stop_token stop = {}) const {
    return async_lock(waits_until(deadline, how), stop);
  }
  [[nodiscard("write co_await")]] task<result> async_try_lock(lock_options how = {}) const {
    return lease_lock<Lease>::async_lock(lock_, how, lock_.now(), {});
  }

protected:
  explicit lease_mutex(Lease calls) : lock_(std::move(calls)) {}
  [[nodiscard]] const auto& at() const noexcept { return lock_.calls().at(); }

private:
  static lock_options waits_until(std::chrono::steady_clock::time_point deadline,
                                  lock_options how) {
    const auto now = std::chrono::steady_clock::now();
    const auto left = deadline <= now
                          ? std::chrono::milliseconds(0)
                          : std::chrono::ceil<std::chrono::milliseconds>(deadline - now);
    how.wait = std::max(std::min(how.wait, left), std::chrono::milliseconds(0));
    return how;
  }

  lease_lock<Lease> lock_;
};

}  // namespace interlock::store::detail
