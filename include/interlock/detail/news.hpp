// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/news.hpp - what a thread waits for that has work in a line: that it is done, or
// that the thread itself is to do what is in the line.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "parking.hpp"

namespace interlock::detail {

struct news_kinds {
  static constexpr std::uint32_t waiting = 0, parked = 1, done = 2, role = 3;
  static constexpr std::uint32_t abandoned = 4;  // said by who waits no more
};

// Effects: waits for news, or until past the deadline, if there is one.
// Returns: done; role, of which this thread has taken note; or waiting: it is late.
inline std::uint32_t wait_for_news(
    park_word& news, const std::chrono::steady_clock::time_point* deadline) noexcept {
  using kinds = news_kinds;
  bool late = false;
  for (unsigned round = 0;; ++round) {
    // order: acquire [news.wait] pairs with [news.tell]: sees the result, or what the last runner did
    std::uint32_t seen = news.load(std::memory_order_acquire);
    if (seen == kinds::done) return seen;
    if (seen == kinds::role) break;
    if (late) return kinds::waiting;
    if (round < spin_rounds) {
      spin_hint(round);
      continue;
    }
    // order: relaxed/relaxed: announces the parking; news that came first is read above
    news.compare_exchange_strong(seen, kinds::parked, std::memory_order_relaxed,
                                 std::memory_order_relaxed);
    if (seen > kinds::parked) continue;
    if (deadline == nullptr) {
      park(news, kinds::parked);
    } else {
      late = !park_until(news, kinds::parked, *deadline);
    }
  }
  // order: relaxed: only the runner tells, and that is this thread now
  news.store(kinds::waiting, std::memory_order_relaxed);
  return kinds::role;
}

// Effects: tells the thread that waits: the last touch of what the word is in.
// Returns: what was there. If that is `abandoned` nobody waits, and what the word is in is the
//          caller's.
inline std::uint32_t tell_news(park_word& news, std::uint32_t what_happened) noexcept {
  const park_word* const address = &news;
  // order: acq_rel [news.tell] pairs with [news.wait], [taker.leave]: publishes the result and what was done; who has left is done with the word
  const std::uint32_t before = news.exchange(what_happened, std::memory_order_acq_rel);
  if (before == news_kinds::parked) unpark_one(address);
  return before;
}

}  // namespace interlock::detail
