// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/timer.hpp - what a wait with a deadline asks of a clock that rings.
//
// An alarm has the shape of a stop callback. timer_thread is a timer for programs without an event
// loop, asio_timer one over Asio's loop, manual_timer one for tests. Your own loop's is a class:
//
//   class my_timer {
//   public:
//     using time_point = ...;              // what a deadline is given in: copied, compared by you
//     template <class F> class alarm {     // F: small, copied, noexcept
//     public:
//       alarm(my_timer&, time_point, F);   // calls f() once at or after the deadline, on a thread
//                                          // of your choosing; here if the deadline has passed
//       ~alarm();                          // f is not called from now on. If another thread is
//     };                                   // calling it, waits until it returns; not for this one
//   };
//
// - An alarm is called at most once, and not before its deadline.
// - It may be destroyed by its own call: what comes behind f() does not touch it.
// - f() ends a wait, which resumes a coroutine. It takes no lock that its caller may hold, so hold
//   none. Best call alarms inside nothing else, from the loop itself.
// - Nothing is allocated by an alarm, and nothing is thrown, or the wait that it belongs to ends
//   the program.
// - The timer outlives its alarms.

#include <concepts>

namespace interlock {

template <class T>
concept timer =
    requires {
      typename T::time_point;
      typename T::template alarm<void (*)()>;
    } && std::copy_constructible<typename T::time_point> &&
    std::constructible_from<typename T::template alarm<void (*)()>, T&, typename T::time_point,
                            void (*)()>;

}  // namespace interlock
