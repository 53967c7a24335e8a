// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/parking_portable.hpp - park and unpark where there is no futex: a table of
// mutex and condition variable pairs, chosen by address. Two words that share a pair wake each
// other for no reason, which the contract of park allows. Included by parking.hpp only.

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>

namespace interlock::detail {

using park_word = std::atomic<std::uint32_t>;

struct parking_spot {
  std::mutex guard;
  std::condition_variable woken;
};

inline parking_spot& parking_spot_of(const park_word* word) noexcept {
  // Never destroyed: a thread may still be unparking while statics go away.
  static auto& spots = *new std::array<parking_spot, 64>;
  return spots[(reinterpret_cast<std::uintptr_t>(word) >> 4U) % spots.size()];
}

inline void park(const park_word& word, std::uint32_t expected) noexcept {
  parking_spot& spot = parking_spot_of(&word);
  std::unique_lock lock(spot.guard);
  // order: relaxed: the spot's mutex orders this test against unpark; callers re-read with acquire
  if (word.load(std::memory_order_relaxed) == expected) spot.woken.wait(lock);
}

inline bool park_until(const park_word& word, std::uint32_t expected,
                       std::chrono::steady_clock::time_point deadline) noexcept {
  parking_spot& spot = parking_spot_of(&word);
  std::unique_lock lock(spot.guard);
  // order: relaxed: the spot's mutex orders this test against unpark; callers re-read with acquire
  if (word.load(std::memory_order_relaxed) != expected) return true;
  return spot.woken.wait_until(lock, deadline) == std::cv_status::no_timeout;
}

inline void unpark_all(const park_word* word) noexcept {
  parking_spot& spot = parking_spot_of(word);
  const std::lock_guard lock(spot.guard);
  spot.woken.notify_all();
}

// One pair serves many words, so "one" would risk waking a stranger only.
inline void unpark_one(const park_word* word) noexcept { unpark_all(word); }

inline void pause_core() noexcept {}

inline void yield_thread() noexcept { std::this_thread::yield(); }

inline std::chrono::nanoseconds coarse_now() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch();
}

}  // namespace interlock::detail
