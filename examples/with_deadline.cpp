// SPDX-License-Identifier: BSL-1.0
// A request that may take 10 ms in all, whatever it waits for.
// Prints: the transfer was called off in time

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>
#include <interlock/timer_thread.hpp>
#include <interlock/with_deadline.hpp>

#include <chrono>
#include <cstdio>

using interlock::async_mutex;
using interlock::current_stop_token;
using interlock::sync_wait;
using interlock::task;
using interlock::timer_thread;
using interlock::with_deadline;
using namespace std::chrono_literals;

namespace {

task<bool> transfer(async_mutex& from, async_mutex& to) {
  const auto stop = co_await current_stop_token();
  const auto first = co_await from.lock(stop);
  if (!first) co_return false;
  const auto second = co_await to.lock(stop);  // in what is left of the time
  co_return second.owns_lock();
}

task<bool> serve(timer_thread& timer, async_mutex& from, async_mutex& to) {
  const auto limit = timer.now() + 10ms;
  const bool done = co_await with_deadline(timer, limit, transfer(from, to));
  co_return done;
}

}  // namespace

int main() {
  timer_thread timer;
  async_mutex from;
  async_mutex to;
  const auto held = to.try_lock();  // by somebody who takes his time
  const bool done = sync_wait(serve(timer, from, to));
  std::puts(done ? "the transfer is done" : "the transfer was called off in time");
  return done ? 1 : 0;
}
