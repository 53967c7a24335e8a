// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/with_deadline.hpp - a time by which a whole task should be over, not each of its waits.
//
// Problem     A request may take a second. Each lock and each query in it would have to be told how
//             much of the second is left.
// Guarantee   The work is asked to stop at its deadline. It is asked as well when the one who
//             awaits it is. A deadline in the past is a stop before the work begins. Work that ends
//             in time hears of nothing.
// Progress    Never blocks; its end waits for an alarm that another thread is calling.
// Cost        One frame, one alarm, and a callback at the caller's token if that can be requested.
// Lifetime    The timer outlives the task.
// Resumes on  As the work, which goes on where what it waits for ends: behind its deadline on a
//             thread of the timer.
// Cancellation The work has a stop token of its own, and answers as it does to any stop: a wait
//             says cancelled. Work that never looks at its token is not stopped.
// Not for     One wait: lock_until(timer, deadline) needs no frame, and says timed_out.
//
// Example     const auto limit = timer.now() + 10ms;       // examples/with_deadline.cpp
//             const bool done = co_await with_deadline(timer, limit, transfer(from, to));

#include <utility>

#include "inplace_stop_token.hpp"
#include "task.hpp"
#include "timer.hpp"

namespace interlock {

namespace detail {
struct stop_by_alarm {
  linked_stop<inplace_stop_token>* stop;
  void operator()() const noexcept { stop->request(); }
};
}  // namespace detail

// Returns: a task of what the work gives. Throws: what the work throws.
// Preconditions: the work was not moved from and not awaited before. A token that it was given by
// with_stop_token stays its token, and the deadline does nothing.
template <class T, timer Timer>
task<T> with_deadline(Timer& timer, typename Timer::time_point deadline, task<T> work) {
  const inplace_stop_token of_caller = co_await current_stop_token();
  detail::linked_stop<inplace_stop_token> stop;
  if (of_caller.stop_possible()) stop.link(of_caller);
  using alarm = typename Timer::template alarm<detail::stop_by_alarm>;
  const alarm limit(timer, deadline, detail::stop_by_alarm{&stop});
  co_return co_await with_stop_token(stop.token(), std::move(work));
}

}  // namespace interlock
