// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/tracked_operations.hpp - the operations of async_mutex, with the place of the
// call.

#include <chrono>
#include <source_location>
#include <utility>

#include "exclusive.hpp"
#include "lock_nodes.hpp"
#include "stoppable.hpp"

namespace interlock::detail {

// The operations of async_mutex, for somebody: each takes where it was called as a last argument.
// Self has target(), the tracked_async_mutex, and asker(), the lock_owner or null.
template <class Self>
class tracked_operations {
  using where = std::source_location;

public:
  [[nodiscard("the guard unlocks when it is destroyed")]] auto try_lock(
      where at = where::current()) {
    return self().target().try_lock_by(self().asker(), at);
  }

  [[nodiscard("write co_await")]] auto lock(where at = where::current()) {
    return awaiting(wait_end::never, at, [&](auto& plain) { return plain.lock(); });
  }
  template <stop_token_like Token>
  [[nodiscard("write co_await")]] auto lock(Token stop, where at = where::current()) {
    return awaiting(wait_end::stop, at, [&](auto& plain) { return plain.lock(std::move(stop)); });
  }
  template <class Timer>
  [[nodiscard("write co_await")]] auto lock_until(Timer& timer, typename Timer::time_point deadline,
                                                  where at = where::current()) {
    return awaiting(wait_end::deadline, at,
                    [&](auto& plain) { return plain.lock_until(timer, deadline); });
  }
  template <class Timer, stop_token_like Token>
  [[nodiscard("write co_await")]] auto lock_until(Timer& timer, typename Timer::time_point deadline,
                                                  Token stop, where at = where::current()) {
    return awaiting(wait_end::deadline, at, [&](auto& plain) {
      return plain.lock_until(timer, deadline, std::move(stop));
    });
  }

  [[nodiscard("the guard unlocks when it is destroyed")]] auto lock_blocking(
      where at = where::current()) {
    return self().target().block(self().asker(), wait_end::never, at,
                                 [](auto& plain) { return plain.lock_blocking(); });
  }
  [[nodiscard("the guard unlocks when it is destroyed")]] auto lock_blocking_until(
      std::chrono::steady_clock::time_point deadline, where at = where::current()) {
    return self().target().block(self().asker(), wait_end::deadline, at,
                                 [&](auto& plain) { return plain.lock_blocking_until(deadline); });
  }

  template <class F>
  [[nodiscard("write co_await")]] auto run_exclusive(F f, where at = where::current()) {
    // As long as it lasts the mutex does: its address, not `this`, is what the coroutine keeps.
    return run_as_owner(std::move(f), [mutex = &self().target(), by = self().asker(), at] {
      return mutex->awaiting_of(by, wait_end::never, at, [](auto& plain) { return plain.lock(); });
    });
  }
  template <class F, stop_token_like Token>
  [[nodiscard("write co_await")]] auto run_exclusive(F f, Token stop, where at = where::current()) {
    return run_as_owner(std::move(f), [mutex = &self().target(), by = self().asker(), at, stop] {
      return mutex->awaiting_of(by, wait_end::stop, at,
                                [&](auto& plain) { return plain.lock(stop); });
    });
  }
  template <class F>
  [[nodiscard("empty or false if busy")]] auto try_run_exclusive(F f, where at = where::current()) {
    return run_if_owner(try_lock(at), std::move(f));
  }

private:
  Self& self() noexcept { return static_cast<Self&>(*this); }
  template <class Make>
  auto awaiting(wait_end end, where at, Make make) {
    return self().target().awaiting_of(self().asker(), end, at, make);
  }
};

}  // namespace interlock::detail
