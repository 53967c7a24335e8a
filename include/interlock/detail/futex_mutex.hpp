// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/futex_mutex.hpp - a 4-byte mutex over the three hooks, for short sections.
//
// std::mutex would do, but for its size (40 bytes) and because a model explorer cannot look into
// it. Barging, not fair. Lockable in the standard's sense: std::lock_guard, std::unique_lock work.
// Source: the three-state mutex of U. Drepper, "Futexes Are Tricky", 2011, section 5.

#include <atomic>
#include <cstdint>

#include "parking.hpp"

namespace interlock::detail {

class futex_mutex {
public:
  constexpr futex_mutex() noexcept = default;
  futex_mutex(const futex_mutex&) = delete;
  futex_mutex& operator=(const futex_mutex&) = delete;

  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t expected = unlocked;
    // order: acquire/relaxed [futex_mutex.try_lock] pairs with [futex_mutex.unlock]: sees the last section
    return word_.compare_exchange_strong(expected, locked, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  void lock() noexcept {
    if (!try_lock()) lock_slow();
  }

  void unlock() noexcept {
    // order: release [futex_mutex.unlock] pairs with [futex_mutex.try_lock], [futex_mutex.lock_slow]: publishes the section
    const std::uint32_t before = word_.exchange(unlocked, std::memory_order_release);
    if (before == contended) unpark_one(&word_);
  }

private:
  // word_ is one of three values:
  //   unlocked   free
  //   locked     held, nobody is parked
  //   contended  held, somebody may be parked: unlock() has to unpark
  static constexpr std::uint32_t unlocked = 0;
  static constexpr std::uint32_t locked = 1;
  static constexpr std::uint32_t contended = 2;

  void lock_slow() noexcept {
    for (unsigned round = 0; round < spin_rounds; ++round) {
      spin_hint(round);
      if (try_lock()) return;
    }
    // From here on this thread may park, so it takes the lock as contended: it cannot know
    // whether others are parked, and its own unlock() then wakes one of them.
    // order: acquire [futex_mutex.lock_slow] pairs with [futex_mutex.unlock]: sees the last section
    while (word_.exchange(contended, std::memory_order_acquire) != unlocked) {
      park(word_, contended);
    }
  }

  park_word word_{unlocked};
};

}  // namespace interlock::detail
