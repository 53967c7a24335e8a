// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/watermark.hpp - the highest value offered so far, and threads that wait for a height.
//
// Problem     Positions arrive out of order (log offsets, versions, timestamps). Compare, then
//             store: an older position that passed its comparison overwrites a newer one.
// Guarantee   The value never goes down.
//             A raise answers true exactly if it became the maximum.
//             A raise to no more than the maximum writes nothing.
//             A wait returns as soon as the maximum has reached its height and misses no raise.
//             What was done before a raise that answered true is visible to whoever sees its value.
// Progress    load, stale raise: wait-free. raise: lock-free. The waits: blocking.
// Cost        sizeof(T) and 4 bytes, aligned as T. A stale raise is one load. Without waiters a
//             raise is one compare-and-swap and one load; with waiters also a system call that
//             wakes them all.
// Lifetime    Must outlive the return of every call: a thread whose wait returned may not destroy
//             it while the raise that released it is still returning.
// Not for     A maximum that comes with data (use versioned); many raises below a waiter's height.
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
#include <cstdint>
#include <type_traits>

#include "detail/parking.hpp"

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

  // Effects: at one moment during the call (linearizable), makes v the value if v is greater.
  // Returns: true if v became the value.
  // Synchronization: if true, happens-before the return of each load and wait that sees v or more.
  bool raise(T v) noexcept {
    T seen = load();
    do {
      if (!(seen < v)) return false;
      // order: seq_cst/seq_cst [watermark.raise] total order with [watermark.load], [watermark.raise.signal], [watermark.announce]: raise, then look for waiters; they announce themselves, then look at the value
    } while (!value_.compare_exchange_weak(seen, v, std::memory_order_seq_cst,
                                           std::memory_order_seq_cst));
    // order: seq_cst [watermark.raise.signal] total order with [watermark.raise], [watermark.announce]: not before the value is raised
    const std::uint32_t signal = signal_.load(std::memory_order_seq_cst);
    if ((signal & awaited) != 0) wake(signal);
    return true;
  }

  // Returns: the value at one moment during the call.
  [[nodiscard]] T load() const noexcept {
    // order: seq_cst [watermark.load] total order with [watermark.raise], [watermark.announce]: sees what was done before the raise; and a waiter that announced itself misses no raise
    return value_.load(std::memory_order_seq_cst);
  }

  // Effects: blocks until the value is at least v.
  void wait_for_at_least(T v) const noexcept {
    for (unsigned round = 0; load() < v; ++round) {
      if (round < detail::spin_rounds) {
        detail::spin_hint(round);
        continue;
      }
      const std::uint32_t signal = announce();
      if (load() < v) detail::park(signal_, signal);
    }
  }

  // Effects: as wait_for_at_least, but not past the deadline.
  // Returns: true if the value is at least v. A deadline in the past asks without blocking.
  [[nodiscard("after a time-out the value is lower")]]
  bool wait_for_at_least_until(T v, std::chrono::steady_clock::time_point deadline) const noexcept {
    bool in_time = true;
    for (unsigned round = 0; load() < v; ++round) {
      if (!in_time) return false;
      if (round < detail::spin_rounds) {
        detail::spin_hint(round);
        continue;
      }
      const std::uint32_t signal = announce();
      if (load() < v) in_time = detail::park_until(signal_, signal, deadline);
    }
    return true;
  }

private:
  // signal_ = turn * 2 + awaited
  //   awaited  set by a waiter before it looks at the value for the last time and parks
  //   turn     raised, and awaited cleared, by a raise that wakes; so a waiter that is about to
  //            park on the old word does not
  //
  // Why no raise is missed. Raise: value, then signal_. Waiter: signal_, then value. All four are
  // seq_cst, so in their total order either the raise sees `awaited`, or the waiter sees the value
  // and does not park. A raise that sees `awaited` and loses the race to change signal_ lost to
  // another raise, which wakes everybody who had announced himself by then: they look again, and
  // see both values.
  static constexpr std::uint32_t awaited = 1;

  // Returns: the word to park on.
  std::uint32_t announce() const noexcept {
    // order: seq_cst [watermark.announce] total order with [watermark.raise], [watermark.raise.signal], [watermark.load]: not after the last look at the value
    return signal_.fetch_or(awaited, std::memory_order_seq_cst) | awaited;
  }

  [[gnu::noinline]] void wake(std::uint32_t signal) noexcept {
    // order: relaxed: only has to differ from the word that waiters park on; the value orders
    if (signal_.compare_exchange_strong(signal, signal + 1, std::memory_order_relaxed,
                                        std::memory_order_relaxed)) {
      detail::unpark_all(&signal_);
    }
  }

  std::atomic<T> value_;
  mutable detail::park_word signal_{0};
};

}  // namespace interlock
