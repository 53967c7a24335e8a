// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/timer_thread.hpp - deadlines for programs that have no event loop.
//
// Problem     A coroutine that waits with a deadline needs somebody who ends its wait then.
// Guarantee   An alarm is called once at or after its deadline and not if it was destroyed before.
//             An alarm whose deadline has passed is called by its constructor.
//             A destroyed alarm is not being called on another thread.
//             An alarm may be destroyed by its own call.
//             Coroutines whose deadlines have passed go on after the last of these alarms.
// Progress    To arm and to disarm: a few steps in turn with the other users. The thread sleeps
//             until the next deadline.
// Cost        One thread. Nothing is allocated: an alarm is a node of a heap, 64 bytes with a
//             pointer to what it ends. To arm: O(1), reads the clock; to disarm: O(log n).
// Lifetime    Must outlive its alarms. Its destructor joins the thread.
// Resumes on  Its thread, which calls no other alarm meanwhile: give long work away by resume_on().
// Cancellation Destroy the alarm.
// Not for     Programs with a loop that has timers (use asio_timer, or write one: see timer.hpp).
//
// Example     timer_thread timer;                         // examples/timer_thread.cpp
//             const timer_thread::alarm bell(timer, timer.now() + 10ms, [&] { rung.raise(1); });
//             rung.wait_for_at_least(1);

#include <chrono>
#include <thread>
#include <utility>

#include "detail/alarm_loop.hpp"
#include "detail/alarms.hpp"
#include "detail/misuse.hpp"
#include "timer.hpp"

namespace interlock {

class timer_thread {
  using loop = detail::alarm_loop;

public:
  using time_point = std::chrono::steady_clock::time_point;

  // alarm(timer_thread&, time_point, f) calls f() then: see timer.hpp.
  template <class F>
  class alarm : detail::alarm_of<loop, F> {
  public:
    alarm(timer_thread& timer, time_point at, F f) noexcept
        : detail::alarm_of<loop, F>(timer.loop_, at, std::move(f)) {}
  };

  // Effects: starts the thread. Throws: std::system_error if there is none to be had.
  timer_thread() : thread_([this] { loop_.run(); }) {}
  timer_thread(const timer_thread&) = delete;
  timer_thread& operator=(const timer_thread&) = delete;
  // Effects: joins the thread. Preconditions: no alarm is armed; called on another thread.
  ~timer_thread() {
    if (thread_.get_id() == std::this_thread::get_id()) {
      detail::misuse("~timer_thread: called on its own thread, for which it would wait");
    }
    loop_.stop("~timer_thread: an alarm is armed; destroy what waits with a deadline before");
    thread_.join();
  }

  [[nodiscard]] static time_point now() noexcept { return std::chrono::steady_clock::now(); }

private:
  loop loop_;
  std::thread thread_;
};

static_assert(timer<timer_thread>);

}  // namespace interlock
