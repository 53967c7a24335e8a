// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/counter.hpp - count what overlapping requests do, and lose nothing.
//
// Problem     Load, add one, store: whoever stores what he read before erases every count that
//             came in between. An atomic can be used in that way too; this type cannot.
// Guarantee   No add is lost however many threads add at once.
//             Each add answers with the value that it produced itself.
//             An exchange hands out every count exactly once.
//             Operations on several counters take effect in one order that all threads agree on.
//             Past the largest value the counter goes on from the smallest.
// Progress    Wait-free where the processor adds in one instruction, else lock-free.
// Cost        sizeof(T), one atomic instruction a call. Threads that add at once queue for the
//             cache line: where that shows, use striped_counter.
// Lifetime    May be destroyed as soon as every call has returned.
// Not for     Limits (use bounded_counter); maxima (use watermark).
//
// Example     counter clicks(100);                            // examples/counter.cpp
//             on_threads(50, [&] { ++clicks; });
//             return clicks.load();                           // 150; naively down to 101

#include <atomic>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace interlock {

template <class T = std::int64_t>
class counter {
  static_assert(std::integral<T> && !std::same_as<T, bool>,
                "interlock::counter counts in an integer type, such as std::int64_t");
  static_assert(std::atomic<T>::is_always_lock_free,
                "interlock::counter needs a type that the processor adds atomically");

public:
  using value_type = T;

  constexpr counter() noexcept = default;
  explicit constexpr counter(std::type_identity_t<T> initial) noexcept : value_(initial) {}
  counter(const counter&) = delete;
  counter& operator=(const counter&) = delete;

  // Effects: adds n (subtracts n), modulo 2^bits: never undefined, whether T is signed or not.
  // Returns: the value after, as std::atomic's operators += and -= do.
  T add(T n) noexcept { return sum(fetch_add(n), n); }
  T sub(T n) noexcept { return add(negated(n)); }
  T operator+=(T n) noexcept { return add(n); }
  T operator-=(T n) noexcept { return sub(n); }

  // Returns: the value after, or before for the postfix forms.
  T operator++() noexcept { return add(one); }
  T operator--() noexcept { return sub(one); }
  T operator++(int) noexcept { return fetch_add(one); }
  T operator--(int) noexcept { return fetch_add(negated(one)); }

  [[nodiscard]] T load() const noexcept {
    // order: seq_cst [counter.load] total order with [counter.fetch_add], [counter.exchange]: adding here and reading there is not reordered
    return value_.load(std::memory_order_seq_cst);
  }

  // Effects: replaces the value by `desired`.
  // Returns: the value replaced. exchange(0) drains: each add is in exactly one drain.
  [[nodiscard("this is what was counted so far, and it is no longer in the counter")]]
  T exchange(T desired) noexcept {
    // order: seq_cst [counter.exchange] total order with [counter.fetch_add], [counter.load]: as load
    return value_.exchange(desired, std::memory_order_seq_cst);
  }

  // There is no store(): it would erase adds that nobody has seen. exchange() shows them.

private:
  using bits = std::make_unsigned_t<T>;
  static constexpr T one{1};
  static constexpr T sum(T a, T b) noexcept {
    return static_cast<T>(static_cast<bits>(a) + static_cast<bits>(b));
  }
  static constexpr T negated(T n) noexcept { return static_cast<T>(0U - static_cast<bits>(n)); }

  // Every call is seq_cst, which makes it linearizable among all counters and not only on its
  // own word. On x86-64 and AArch64 the instructions are those of acq_rel.
  T fetch_add(T n) noexcept {
    // order: seq_cst [counter.fetch_add] total order with [counter.load], [counter.exchange]: as load
    return value_.fetch_add(n, std::memory_order_seq_cst);
  }

  std::atomic<T> value_{0};
};

}  // namespace interlock
