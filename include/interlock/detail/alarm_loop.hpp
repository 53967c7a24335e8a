// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/alarm_loop.hpp - the alarms of one thread, which sleeps until the next is due.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "alarms.hpp"
#include "parking.hpp"
#include "waiter.hpp"

namespace interlock::detail {

class alarm_loop {
public:
  using time_point = alarm_node::time_point;

  alarm_loop() noexcept : alarms_(time_point::min()) {}
  alarm_loop(const alarm_loop&) = delete;
  alarm_loop& operator=(const alarm_loop&) = delete;

  // Effects: lists the alarm; wakes the thread if it sleeps for longer.
  // Returns: false if it is due: then it is not listed.
  bool arm(alarm_node& fresh) noexcept {
    if (fresh.deadline <= std::chrono::steady_clock::now()) return false;
    switch (alarms_.add(fresh)) {
      case alarms::added::due: return false;
      case alarms::added::is_awaited: ring(one_ring); break;
      case alarms::added::listed: break;
    }
    return true;
  }
  void disarm(alarm_node& gone) noexcept { alarms_.remove(gone); }

  // Effects: calls what gets due until stop() was called. Coroutines that alarms wake are resumed
  //          here after the alarms that are due with them.
  void run() noexcept {
    for (;;) {
      // order: acquire [alarm_loop.look] pairs with [alarm_loop.ring]: looked at before the alarms, so that whoever rings for one behind this look ends the sleep
      const std::uint32_t seen = bell_.load(std::memory_order_acquire);
      if ((seen & stopping) != 0) return;
      trampoline::together(
          [this]() noexcept { alarms_.call_due(std::chrono::steady_clock::now()); });
      park_until(bell_, seen, alarms_.sleep());
    }
  }

  // Preconditions: no alarm is armed, and none will be; else misuse(sentence).
  void stop(const char* sentence) noexcept {
    alarms_.expect_empty(sentence);
    ring(stopping);
  }

private:
  static constexpr std::uint32_t stopping = 1;
  static constexpr std::uint32_t one_ring = 2;

  void ring(std::uint32_t how) noexcept {
    // order: release [alarm_loop.ring] pairs with [alarm_loop.look]: ends the sleep
    bell_.fetch_add(how, std::memory_order_release);
    unpark_one(&bell_);
  }

  alarms alarms_;
  park_word bell_{0};  // rings, and whether to stop
};

}  // namespace interlock::detail
