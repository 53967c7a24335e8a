// SPDX-License-Identifier: BSL-1.0
// A task that is destroyed while it waits leaves what it waits for as if it had never come: nobody
// is woken in its place, nothing that it was granted is lost.

#include <interlock/async_condition.hpp>
#include <interlock/async_event.hpp>
#include <interlock/async_mutex.hpp>
#include <interlock/async_semaphore.hpp>
#include <interlock/async_shared_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/versioned.hpp>
#include <interlock/watermark.hpp>
#include <interlock/when_all.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::current_stop_token;
using interlock::inplace_stop_source;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;
using interlock::with_stop_token;

namespace {

// Three tasks deep, beside a sibling that has ended; under a stop token.
task<> below(std::function<task<>()> wait, int depth) {
  if (depth > 0) {
    co_await below(std::move(wait), depth - 1);
  } else {
    co_await wait();
  }
}
task<> ends_at_once() {
  co_return;
}

support::owned start(std::function<task<>()> wait, interlock::inplace_stop_token stop, int& ended) {
  co_await with_stop_token(stop, below(std::move(wait), 3));
  ++ended;
}
support::owned start_beside_others(std::function<task<>()> wait, interlock::inplace_stop_token stop,
                                   int& ended) {
  co_await when_all(ends_at_once(), with_stop_token(stop, below(wait, 1)), below(wait, 2));
  ++ended;
}

// Everything in one: waits start, some are destroyed, the rest go on when `release` lets them.
// Each wait() that went on counts itself in `served`.
void survives_destruction(const std::function<task<>()>& wait, const std::function<void()>& release,
                          const int& served) {
  int ended = 0;
  {
    inplace_stop_source stop;
    const support::owned first = start(wait, stop.get_token(), ended);
    const support::owned second = start(wait, stop.get_token(), ended);
    const support::owned third = start_beside_others(wait, stop.get_token(), ended);
    const support::owned fourth = start(wait, {}, ended);
    second.handle.destroy();
    third.handle.destroy();
    CHECK(served == 0);
    release();
    CHECK(served == 2);
    CHECK(ended == 2);
    CHECK(first.handle.done());
    CHECK(fourth.handle.done());
    first.handle.destroy();
    fourth.handle.destroy();
    stop.request_stop();  // nobody is left to hear it
  }
  CHECK(ended == 2);
}

}  // namespace

TEST_CASE("a task that waits for a lock may be destroyed: the next one gets it") {
  async_mutex door;
  int served = 0;
  auto held = door.try_lock();
  const auto lock = [&]() -> task<> {
    const auto mine = co_await door.lock();
    served += mine.owns_lock() ? 1 : 0;
  };
  survives_destruction(
      lock, [&] { held.unlock(); }, served);
  CHECK(door.try_lock().owns_lock());
}

TEST_CASE("a task that waits for a lock with a stop token may be destroyed") {
  async_mutex door;
  int served = 0;
  auto held = door.try_lock();
  const auto lock = [&]() -> task<> {
    const auto stop = co_await current_stop_token();
    const auto mine = co_await door.lock(stop);
    served += mine.owns_lock() ? 1 : 0;
  };
  survives_destruction(
      lock, [&] { held.unlock(); }, served);
  CHECK(door.try_lock().owns_lock());
}

TEST_CASE("a task that waits for a section to run alone may be destroyed") {
  async_mutex door;
  int served = 0;
  auto held = door.try_lock();
  const auto section = [&]() -> task<> {
    co_await door.run_exclusive([&]() -> task<> {
      ++served;
      co_return;
    });
  };
  survives_destruction(
      section, [&] { held.unlock(); }, served);
  CHECK(door.try_lock().owns_lock());
}

TEST_CASE("a task that has been given a lock and is destroyed before its turn passes it on") {
  async_mutex door;
  int served = 0;
  int ended = 0;
  const auto lock = [&]() -> task<> {
    const auto mine = co_await door.lock();
    served += mine.owns_lock() ? 1 : 0;
  };
  const auto body = [&]() -> task<> {
    auto held = door.try_lock();
    const support::owned first = start(lock, {}, ended);
    const support::owned second = start(lock, {}, ended);
    co_await reschedule();
    held.unlock();           // the first one owns it and is ready: this one runs on
    first.handle.destroy();  // the second one owns it
    co_await reschedule();
    CHECK(served == 1);
    second.handle.destroy();
    CHECK(door.try_lock().owns_lock());
  };
  sync_wait(body());
  CHECK(ended == 1);
}

TEST_CASE("a task that waits for a watermark or a version may be destroyed") {
  int served = 0;
  interlock::watermark<int> level{0};
  survives_destruction(
      [&]() -> task<> {
        const auto stop = co_await current_stop_token();
        const bool reached = co_await level.async_wait_for_at_least(1, stop);
        served += reached ? 1 : 0;
      },
      [&] { level.raise(1); }, served);
  served = 0;
  interlock::versioned<int> cell{0};
  survives_destruction(
      [&]() -> task<> {
        const auto seen = cell.version();
        co_await cell.async_wait(seen);
        ++served;
      },
      [&] { cell.store(1); }, served);
}

TEST_CASE("a task that waits for a lock until a deadline may be destroyed") {
  async_mutex door;
  interlock::manual_timer timer;
  int served = 0;
  auto held = door.try_lock();
  const auto lock = [&]() -> task<> {
    const auto stop = co_await current_stop_token();
    const auto mine = co_await door.lock_until(timer, timer.now() + std::chrono::seconds(1), stop);
    served += mine.owns_lock() ? 1 : 0;
  };
  survives_destruction(lock, [&] { held.unlock(); }, served);
  timer.advance_to(timer.now() + std::chrono::seconds(2));
  CHECK(door.try_lock().owns_lock());
  CHECK(served == 2);
}

TEST_CASE("a task that waits for permits, an event or a condition may be destroyed") {
  int served = 0;
  interlock::async_semaphore permits(1);
  auto taken = permits.try_acquire();
  survives_destruction(
      [&]() -> task<> {
        const auto mine = co_await permits.acquire();
        served += mine.owns_lock() ? 1 : 0;
      },
      [&] { taken = {}; }, served);
  CHECK(permits.try_acquire().owns_lock());
  served = 0;
  interlock::async_manual_reset_event ready;
  survives_destruction(
      [&]() -> task<> {
        const auto stop = co_await current_stop_token();
        const auto how = co_await ready.wait(stop);
        served += how == interlock::wait_status::acquired ? 1 : 0;
      },
      [&] { ready.set(); }, served);
  served = 0;
  async_mutex door;
  interlock::async_condition changed;
  bool full = false;
  survives_destruction(
      [&]() -> task<> {
        auto held = co_await door.lock();
        const auto how = co_await changed.wait(held, [&] { return full; });
        served += how == interlock::wait_status::acquired ? 1 : 0;
      },
      [&] {
        full = true;
        changed.notify_all();
      },
      served);
  CHECK(door.try_lock().owns_lock());
}

TEST_CASE("a task that waits to read or to write may be destroyed") {
  int served = 0;
  interlock::async_shared_mutex door;
  {
    auto held = door.try_lock();
    survives_destruction(
        [&]() -> task<> {
          const auto mine = co_await door.lock_shared();
          served += mine.owns_lock() ? 1 : 0;
        },
        [&] { held.unlock(); }, served);
  }
  served = 0;
  {
    auto held = door.try_lock_shared();
    survives_destruction(
        [&]() -> task<> {
          const auto stop = co_await current_stop_token();
          const auto mine = co_await door.lock(stop);
          served += mine.owns_lock() ? 1 : 0;
        },
        [&] { held.unlock(); }, served);
  }
  CHECK(door.try_lock().owns_lock());
}
