// SPDX-License-Identifier: BSL-1.0
#pragma once

// An async_mutex behind each of the waits that coroutines may ask for.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/timer_thread.hpp>

#include <chrono>
#include <stop_token>

namespace async {

struct plain {
  interlock::async_mutex mutex;
  auto enter() noexcept { return mutex.lock(); }
};

template <class Source>
struct stoppable {
  interlock::async_mutex mutex;
  Source source;
  decltype(source.get_token()) token = source.get_token();
  auto enter() { return mutex.lock(token); }
};

template <class Timer>
struct with_deadline_of {
  interlock::async_mutex mutex;
  Timer timer;
  typename Timer::time_point deadline = timer.now() + std::chrono::hours(1);
  auto enter() { return mutex.lock_until(timer, deadline); }
};

using with_deadline = with_deadline_of<interlock::manual_timer>;
using std_stoppable = stoppable<std::stop_source>;
using inplace_stoppable = stoppable<interlock::inplace_stop_source>;

inline constexpr const char* by_std_token = ", std::stop_token";
inline constexpr const char* by_inplace_token = ", inplace_stop_token";
inline constexpr const char* by_deadline = ", a deadline";
inline constexpr const char* by_timer_thread = ", a deadline of a timer_thread";

}  // namespace async
