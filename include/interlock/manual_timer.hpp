// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/manual_timer.hpp - a timer whose time goes on when a test says so.
//
// Problem     A test that waits for real deadlines is slow, and fails on a busy machine.
// Guarantee   Time goes on when it is told to and never otherwise.
//             Alarms are called in the order of their deadlines and then of their arming.
//             What a coroutine arms while time goes on is called in its turn.
//             now tells the deadline of the alarm that is being called.
// Progress    advance_to: calls the alarms. The others: a few steps in turn with each other.
// Cost        64 bytes; an alarm as that of timer_thread. Nothing is allocated.
// Lifetime    Must outlive its alarms.
// Resumes on  The thread that calls advance_to(), after the alarms of the same deadline.
// Cancellation Destroy the alarm.
// Not for     Programs at work: nobody rings unless advance_to() is called.
//
// Example     manual_timer timer;                         // examples/manual_timer.cpp
//             const manual_timer::alarm bell(timer, timer.now() + 1h, [] { std::puts("rings"); });
//             timer.advance_to(timer.now() + 59min);  // nothing
//             timer.advance_to(timer.now() + 1min);   // rings

#include <chrono>
#include <utility>

#include "detail/alarms.hpp"
#include "detail/waiter.hpp"
#include "timer.hpp"

namespace interlock {

class manual_timer {
public:
  using time_point = std::chrono::steady_clock::time_point;

  // alarm(manual_timer&, time_point, f) calls f() then: see timer.hpp.
  template <class F>
  class alarm : detail::alarm_of<manual_timer, F> {
  public:
    alarm(manual_timer& timer, time_point at, F f) noexcept
        : detail::alarm_of<manual_timer, F>(timer, at, std::move(f)) {}
  };

  explicit manual_timer(time_point now = {}) noexcept : alarms_(now) {}
  manual_timer(const manual_timer&) = delete;
  manual_timer& operator=(const manual_timer&) = delete;
  // Preconditions: no alarm is armed.
  ~manual_timer() {
    alarms_.expect_empty(
        "~manual_timer: an alarm is armed; destroy what waits with a deadline before");
  }

  [[nodiscard]] time_point now() const noexcept { return alarms_.now(); }

  // Effects: lets time go on to `then`, from one deadline to the next: calls the alarms of each,
  //          then resumes the coroutines that they woke. No effect if `then` has passed.
  // Preconditions: one thread at a time, and none of the alarms.
  void advance_to(time_point then) noexcept {
    while (const auto next = alarms_.first(then)) {
      detail::trampoline::together([this, &next]() noexcept { alarms_.call_due(*next); });
    }
    alarms_.set_now(then);
  }

private:
  template <class, class>
  friend class detail::alarm_of;
  bool arm(detail::alarm_node& fresh) noexcept {
    return alarms_.add(fresh) != detail::alarms::added::due;
  }
  void disarm(detail::alarm_node& gone) noexcept { alarms_.remove(gone); }

  detail::alarms alarms_;
};

static_assert(timer<manual_timer>);

}  // namespace interlock
