// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/bounded_counter.hpp - take only what is there: check and change in one step.
//
// Problem     Two requests both see a balance of 100, both find 80 covered, both subtract.
//             Between the check and the change anything may happen.
// Guarantee   The value never leaves the closed range from min to max.
//             A request is granted whole or not at all.
//             A request is refused only if it did not fit at one moment during the call.
//             What is granted adds up to exactly what the value changed by.
//             A refused request writes nothing.
// Progress    Lock-free: a call repeats because another one was granted meanwhile.
// Cost        24 bytes. Granted: one compare-and-swap. Refused: one load.
// Lifetime    May be destroyed as soon as every call has returned.
// Not for     Waiting until there is enough (async_semaphore).
//
// Example     bounded_counter balance(100, 0, 1'000);         // examples/bounded_counter.cpp
//             const auto withdraw = [&] { return balance.try_sub(80) ? 80 : 0; };
//             on_threads(2, [&] { paid_out += withdraw(); });
//             return paid_out == 80;                          // naively 160, and the balance -60

#include <atomic>
#include <cstdint>

#include "detail/bounds.hpp"

namespace interlock {

class bounded_counter {
public:
  using value_type = std::int64_t;

  // Throws: std::invalid_argument unless min <= initial <= max.
  bounded_counter(std::int64_t initial, std::int64_t min, std::int64_t max)
      : bounds_("bounded_counter", initial, min, max), value_(initial) {}
  bounded_counter(const bounded_counter&) = delete;
  bounded_counter& operator=(const bounded_counter&) = delete;

  // Effects: at one moment during the call (linearizable), adds n if the sum is at most max().
  // Returns: true if it was added.
  // Throws: std::invalid_argument if n is negative.
  [[nodiscard("a refused amount has not been added")]] bool try_add(std::int64_t n) {
    if (n < 0) bounds_.throw_negative("bounded_counter", "try_add", n, "try_sub");
    std::int64_t seen = load();
    do {
      if (bounds_.distance(seen, max()) < static_cast<std::uint64_t>(n)) return false;
    } while (!replace(seen, seen + n));
    return true;
  }

  // Effects: at one moment during the call (linearizable), subtracts n if the difference is at
  //          least min().
  // Returns: true if it was subtracted.
  // Throws: std::invalid_argument if n is negative.
  [[nodiscard("a refused amount has not been taken")]] bool try_sub(std::int64_t n) {
    if (n < 0) bounds_.throw_negative("bounded_counter", "try_sub", n, "try_add");
    std::int64_t seen = load();
    do {
      if (bounds_.distance(min(), seen) < static_cast<std::uint64_t>(n)) return false;
    } while (!replace(seen, seen - n));
    return true;
  }

  // Returns: the value at one moment during the call. Do not decide on it: ask with try_sub.
  [[nodiscard]] std::int64_t load() const noexcept {
    // order: seq_cst [bounded_counter.load] total order with [bounded_counter.replace]: sees what was done before the units were put here, and a refusal holds among all counters
    return value_.load(std::memory_order_seq_cst);
  }

  [[nodiscard]] std::int64_t min() const noexcept { return bounds_.min(); }
  [[nodiscard]] std::int64_t max() const noexcept { return bounds_.max(); }

private:
  // Effects: stores `desired` if the value is still `seen`; else `seen` becomes the value, and the
  //          caller decides again. Weak: it may fail with the same value, then the caller repeats.
  bool replace(std::int64_t& seen, std::int64_t desired) noexcept {
    // order: seq_cst/seq_cst [bounded_counter.replace] total order with [bounded_counter.load]: hands on what was done before the units were put here
    return value_.compare_exchange_weak(seen, desired, std::memory_order_seq_cst,
                                        std::memory_order_seq_cst);
  }

  const detail::bounds bounds_;
  std::atomic<std::int64_t> value_;  // min() <= value_ <= max(), always
};

}  // namespace interlock
