// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/watermark.hpp - the highest value offered so far, and who waits until it is that high.
//
// Problem     Positions arrive out of order (log offsets, versions, timestamps). Compare, then
//             store: an older position that passed its comparison overwrites a newer one.
// Guarantee   The value never goes down.
//             A raise answers true exactly if it became the maximum.
//             A raise to no more than the maximum writes nothing.
//             A wait returns as soon as the maximum has reached its height and misses no raise.
//             A raise wakes only those whose height it has reached.
//             What was done before a raise that answered true is visible to whoever sees its value.
// Progress    load, stale raise: wait-free. raise: lock-free, but for a few steps in turn with
//             those who begin or give up a wait. The waits: blocking, or the coroutine suspends.
// Cost        sizeof(T) and 8 bytes, rounded up. A stale raise is one load. Without waiters a raise
//             is one compare-and-swap and one load; with waiters it also locks their list, and
//             looks at those it wakes and one more. Waiting allocates nothing.
// Lifetime    Must outlive the return of every call: a thread whose wait returned may not destroy
//             it while the raise that released it is still returning. Nobody may be waiting.
// Resumes on  The raising thread: when the coroutine that runs there (see sync_wait) suspends, or
//             inside raise() if none does, as on a plain thread. Or the one that stops it.
// Cancellation By a stop token, on any thread, or a deadline. A suspended coroutine may also be
//             destroyed, unless another thread raises to its height or ends its wait meanwhile, or
//             did so.
// Not for     A maximum that comes with data (use versioned).
//
// Example     watermark<std::uint64_t> replicated(0);         // examples/watermark.cpp
//             std::thread replica([&] {
//               log = "order 3";
//               replicated.raise(3);
//             });
//             replicated.wait_for_at_least(3);                // from here on the log is visible

#include <atomic>
#include <chrono>
#include <concepts>
#include <type_traits>
#include <utility>

#include "detail/parking.hpp"
#include "detail/wait_list.hpp"
#include "detail/waiting.hpp"
#include "timer.hpp"

namespace interlock {

template <class T>
class watermark {
  static_assert(std::is_trivially_copyable_v<T> && std::totally_ordered<T>,
                "interlock::watermark needs a trivially copyable type with a total order");
  static_assert(std::atomic<T>::is_always_lock_free,
                "interlock::watermark needs a type that the processor compares and swaps: usually "
                "at most 8 bytes; keep larger values in a versioned and their versions here");
  static_assert(std::has_unique_object_representations_v<T> || std::is_floating_point_v<T>,
                "interlock::watermark needs a type without padding: equal values, equal bytes");

public:
  using value_type = T;

  // Preconditions, here and below: a floating-point value is not NaN, which has no order.
  explicit constexpr watermark(T initial) noexcept : value_(initial) {}
  watermark(const watermark&) = delete;
  watermark& operator=(const watermark&) = delete;
  // Preconditions: nobody waits.
  ~watermark() {
    waiters_.expect_empty("~watermark: somebody waits for a height; let every waiter go first");
  }

  // Effects: at one moment during the call (linearizable), makes v the value if v is greater.
  // Returns: true if v became the value.
  // Synchronization: if true, happens-before the return of each load and wait that sees v or more.
  bool raise(T v) noexcept {
    T seen = load();
    do {
      if (!(seen < v)) return false;
      // order: seq_cst/seq_cst [watermark.raise] total order with [watermark.load], [ring.empty]: raise, then look for waiters; they are listed, then look at the value
    } while (!value_.compare_exchange_weak(seen, v, std::memory_order_seq_cst,
                                           std::memory_order_seq_cst));
    if (!waiters_.empty()) wake(v);
    return true;
  }

  // Returns: the value at one moment during the call.
  [[nodiscard]] T load() const noexcept {
    // order: seq_cst [watermark.load] total order with [watermark.raise], [ring.lock]: sees what was done before the raise; and a waiter that is being listed misses no raise
    return value_.load(std::memory_order_seq_cst);
  }

  // Effects: blocks until the value is at least v.
  void wait_for_at_least(T v) const noexcept { wait(v, nullptr); }

  // Effects: as wait_for_at_least, but not past the deadline.
  // Returns: true if the value is at least v. A deadline in the past asks without blocking.
  [[nodiscard("after a time-out the value is lower")]]
  bool wait_for_at_least_until(T v, std::chrono::steady_clock::time_point deadline) const noexcept {
    return wait(v, &deadline);
  }

  // Effects: co_await async_wait_for_at_least(v) suspends the coroutine until the value is at least
  //          v. Works in coroutines of any type.
  // Synchronization: as wait_for_at_least.
  [[nodiscard("write co_await")]] auto async_wait_for_at_least(T v) const noexcept {
    return detail::waiting<place<false>, detail::by_trampoline>({this, v});
  }

  // Effects: as above, and until the token's stop is requested, by any thread, which resumes the
  //          coroutine if it is still suspended. Token: std::stop_token, or one of its kind.
  // Returns: an awaitable of bool: true if the value is at least v.
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_wait_for_at_least(T v, Token stop) const noexcept {
    return until<detail::stop_end<Token>>(v, {std::move(stop)});
  }

  // Effects: as above, and not past the deadline, or until the stop is requested if a token is
  //          given. A deadline in the past asks without suspending for long.
  // Returns: an awaitable of bool: true if the value is at least v.
  template <timer Timer>
  [[nodiscard("write co_await")]] auto async_wait_for_at_least_until(
      Timer& timer, typename Timer::time_point deadline, T v) const noexcept {
    return until<detail::deadline_end<Timer>>(v, {&timer, deadline});
  }
  template <timer Timer, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_wait_for_at_least_until(
      Timer& timer, typename Timer::time_point deadline, T v, Token stop) const noexcept {
    return until<detail::stop_end<Token>, detail::deadline_end<Timer>>(v, {std::move(stop)},
                                                                       {&timer, deadline});
  }

private:
  template <bool MayEnd>
  class place;

  template <class... Ends>
  auto until(T v, Ends... ends) const noexcept {
    return detail::waiting<place<true>, detail::by_trampoline, Ends...>({this, v}, {},
                                                                       std::move(ends)...);
  }

  // Returns: true if the value is at least v.
  bool wait(T v, const std::chrono::steady_clock::time_point* deadline) const noexcept {
    for (unsigned round = 0; round < detail::spin_rounds; ++round) {
      if (!(load() < v)) return true;
      detail::spin_hint(round);
    }
    // The value does not go down, so whatever ended the wait was the last of it.
    const auto ending = detail::wait_in(waiters_, v, [this, v] { return load() < v; }, deadline);
    return ending != detail::wait_ending::too_late || !(load() < v);
  }

  [[gnu::noinline]] void wake(T v) noexcept {
    if (auto* const reached = waiters_.take(v)) detail::wait_list<T>::wake(reached);
  }

  std::atomic<T> value_;
  mutable detail::wait_list<T> waiters_;
};

// Where a coroutine waits for a height; until an end comes, if that may be.
template <class T>
template <bool MayEnd>
class watermark<T>::place : public detail::coroutine_place<T> {
public:
  struct request {
    const watermark* mark;
    T height;
  };
  place(const request& what, detail::waiter::wake_function function) noexcept
      : detail::coroutine_place<T>(what.height, function), what_(what) {}

  const request& what() const noexcept { return what_; }
  bool try_now() const noexcept { return !(what_.mark->load() < what_.height); }
  bool suspend() noexcept {
    return !try_now() && this->suspend_in(what_.mark->waiters_, [this] { return !try_now(); });
  }
  void end(wait_status why) noexcept { this->end_in(what_.mark->waiters_, why); }
  auto finish() noexcept {
    this->suspended = false;
    if constexpr (MayEnd) return try_now();
  }

private:
  const request what_;
};

}  // namespace interlock
