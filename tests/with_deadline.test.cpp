// SPDX-License-Identifier: BSL-1.0
// with_deadline: on a clock that the test sets, and against a thread that rings.

#include <interlock/async_mutex.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/timer_thread.hpp>
#include <interlock/when_all.hpp>
#include <interlock/with_deadline.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <utility>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::current_stop_token;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::manual_timer;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;
using interlock::with_deadline;
using interlock::with_stop_token;
using namespace std::chrono_literals;

namespace {

// Takes both locks, one after the other.
task<bool> takes_both(async_mutex& one, async_mutex& two) {
  const inplace_stop_token stop = co_await current_stop_token();
  const auto first = co_await one.lock(stop);
  if (!first) co_return false;
  const auto second = co_await two.lock(stop);
  co_return second.owns_lock();
}

task<int> seen(int value, bool& stopped) {
  const inplace_stop_token stop = co_await current_stop_token();
  stopped = stop.stop_requested();
  co_return value;
}

support::owned start(task<bool> work, int& ended, bool& result) {
  result = co_await std::move(work);
  ++ended;
}

}  // namespace

TEST_CASE("The work is asked to stop at its deadline") {
  manual_timer timer;
  const auto begin = timer.now();
  async_mutex one;
  async_mutex two;
  auto first = one.try_lock();
  auto second = two.try_lock();
  int ended = 0;
  bool both = true;
  const support::owned work =
      start(with_deadline(timer, begin + 10s, takes_both(one, two)), ended, both);
  timer.advance_to(begin + 6s);
  first.unlock();  // then there are four seconds for the other one
  timer.advance_to(begin + 9s);
  CHECK(ended == 0);
  timer.advance_to(begin + 10s);
  CHECK(ended == 1);
  CHECK_FALSE(both);
  CHECK(one.try_lock().owns_lock());
  work.handle.destroy();
}

TEST_CASE("It is asked as well when the one who awaits it is") {
  manual_timer timer;
  async_mutex one;
  async_mutex two;
  const auto held = one.try_lock();
  inplace_stop_source stop;
  int ended = 0;
  bool both = true;
  const support::owned work =
      start(with_stop_token(stop.get_token(),
                            with_deadline(timer, timer.now() + 10s, takes_both(one, two))),
            ended, both);
  CHECK(ended == 0);
  stop.request_stop();
  CHECK(ended == 1);
  CHECK_FALSE(both);
  timer.advance_to(timer.now() + 11s);  // nothing is left to ring
  CHECK(ended == 1);
  work.handle.destroy();
}

TEST_CASE("A deadline in the past is a stop before the work begins") {
  manual_timer timer;
  bool stopped = false;
  CHECK(sync_wait(with_deadline(timer, timer.now(), seen(3, stopped))) == 3);
  CHECK(stopped);
}

TEST_CASE("Work that ends in time hears of nothing") {
  manual_timer timer;
  bool stopped = true;
  CHECK(sync_wait(with_deadline(timer, timer.now() + 1s, seen(3, stopped))) == 3);
  CHECK_FALSE(stopped);
  timer.advance_to(timer.now() + 2s);
  const auto fails = []() -> task<std::unique_ptr<int>> {
    throw std::runtime_error("in time");
    co_return nullptr;
  };
  CHECK_THROWS_AS(sync_wait(with_deadline(timer, timer.now() + 1s, fails())), std::runtime_error);
}

TEST_CASE("the earlier of two deadlines counts, and a token of the work's own counts alone") {
  manual_timer timer;
  const auto begin = timer.now();
  bool stopped = false;
  const auto late = [&](task<int> work) {
    return with_deadline(timer, begin + 10s, std::move(work));
  };
  sync_wait(late(with_deadline(timer, begin, seen(1, stopped))));
  CHECK(stopped);
  sync_wait(with_deadline(timer, begin, late(seen(1, stopped))));
  CHECK(stopped);
  inplace_stop_source own;
  sync_wait(with_deadline(timer, begin, with_stop_token(own.get_token(), seen(1, stopped))));
  CHECK_FALSE(stopped);
}

TEST_CASE("a deadline for several, and a task that is destroyed before its deadline") {
  manual_timer timer;
  const auto begin = timer.now();
  async_mutex one;
  async_mutex two;
  const auto held = one.try_lock();
  int ended = 0;
  bool result = true;
  const auto pair = [&]() -> task<bool> {
    const auto both = co_await when_all(takes_both(one, two), takes_both(one, two));
    co_return std::get<0>(both) || std::get<1>(both);
  };
  const support::owned first = start(with_deadline(timer, begin + 5s, pair()), ended, result);
  const support::owned second = start(with_deadline(timer, begin + 4s, pair()), ended, result);
  second.handle.destroy();
  timer.advance_to(begin + 4s);
  CHECK(ended == 0);
  timer.advance_to(begin + 5s);
  CHECK(ended == 1);
  CHECK_FALSE(result);
  first.handle.destroy();
}

TEST_CASE("with_deadline allocates its frame and nothing else") {
  if (!support::counts_allocations) return;
  manual_timer timer;
  bool stopped = false;
  const std::size_t before = support::allocations();
  sync_wait(with_deadline(timer, timer.now() + 1s, seen(1, stopped)));
  CHECK(support::allocations() - before == 2);  // the work's frame is the other one
}

TEST_CASE("a deadline that a thread tells races with the end of the work") {
  interlock::timer_thread timer;
  async_mutex one;
  async_mutex two;
  const std::size_t rounds = support::rounds(2'000);
  std::size_t stopped = 0;
  for (std::size_t i = 0; i < rounds; ++i) {
    auto held = i % 2 == 0 ? one.try_lock() : two.try_lock();
    const auto limit = timer.now() + std::chrono::microseconds(i % 100);
    if (i % 4 < 2) held.unlock();  // in time, or nearly
    const bool both = sync_wait(with_deadline(timer, limit, takes_both(one, two)));
    stopped += both ? 0 : 1;
  }
  CHECK(stopped >= rounds / 4 * 2);  // those for whom one lock stays held
  CHECK(one.try_lock().owns_lock());
  CHECK(two.try_lock().owns_lock());
}
