// SPDX-License-Identifier: BSL-1.0
// How often operator new is called on each way through a lock; of frames and threads, which are
// made before, nothing counts.

#include <interlock/async_condition.hpp>
#include <interlock/async_event.hpp>
#include <interlock/async_semaphore.hpp>
#include <interlock/async_shared_mutex.hpp>
#include <interlock/lock_all.hpp>

#include <deque>
#include <optional>

#include "async/doors.hpp"
#include "async/jobs.hpp"
#include "tests/support/allocations.hpp"
#include "tests/support/detached.hpp"

namespace async {
namespace {

using interlock::async_mutex;
using support::detached;

// Where coroutines stop before the way that is counted begins.
class gate {
public:
  gate() { waiting_.reserve(visitors); }
  auto operator co_await() noexcept {
    struct awaiter {
      gate& here;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> self) { here.waiting_.push_back(self); }
      void await_resume() const noexcept {}
    };
    return awaiter{*this};
  }

  // Returns: how many allocations there were while all went on until they suspended or ended, and
  //          while then() ran.
  template <class F>
  double open(F then) {
    const std::size_t before = support::allocations();
    for (const std::coroutine_handle<>& each : waiting_) each.resume();
    then();
    return static_cast<double>(support::allocations() - before);
  }

private:
  std::vector<std::coroutine_handle<>> waiting_;
};

detached lock_once(gate& start, async_mutex& mutex) {
  co_await start;
  const auto held = co_await mutex.lock();
}

double free_lock() {
  gate start;
  async_mutex mutex;
  lock_once(start, mutex);
  return start.open([] {});
}

double waiting_lock() {
  gate start;
  async_mutex mutex;
  auto held = mutex.try_lock();
  for (int i = 0; i < visitors; ++i) lock_once(start, mutex);
  return start.open([&] { held.unlock(); });
}

// Each of fifty waits, by turns to its end and told to stop.
template <class Source>
detached lock_or_stop(gate& start, async_mutex& mutex, Source& source) {
  co_await start;
  const auto held = co_await mutex.lock(source.get_token());
  benchmark::DoNotOptimize(held.owns_lock());
}

template <class Source>
double stopped_lock() {
  gate start;
  async_mutex mutex;
  auto held = mutex.try_lock();
  std::deque<Source> sources(visitors);
  for (Source& each : sources) lock_or_stop(start, mutex, each);
  return start.open([&] {
    for (std::size_t i = 0; i < visitors; i += 2) sources[i].request_stop();
    held.unlock();
  });
}

detached lock_or_give_up(gate& start, with_deadline& door) {
  co_await start;
  const auto held = co_await door.enter();
  benchmark::DoNotOptimize(held.owns_lock());
}

double late_lock() {
  gate start;
  with_deadline door;
  auto held = door.mutex.try_lock();
  for (int i = 0; i < visitors; ++i) lock_or_give_up(start, door);
  return start.open([&] { door.timer.advance_to(door.deadline); });
}

double closed_lock() {
  gate start;
  async_mutex mutex;
  auto held = mutex.try_lock();
  interlock::inplace_stop_source never;
  for (int i = 0; i < visitors; ++i) lock_or_stop(start, mutex, never);
  return start.open([&] { mutex.close(); });
}

double from_threads() {
  async_mutex mutex;
  auto held = mutex.try_lock();
  double counted = 0;
  std::thread waiting([&] {
    const std::size_t before = support::allocations();
    held.unlock();
    for (int i = 0; i < 1000; ++i) {
      const auto mine = mutex.lock_blocking();
      const auto refused = mutex.try_lock();
      benchmark::DoNotOptimize(refused.owns_lock());
    }
    counted = static_cast<double>(support::allocations() - before);
  });
  waiting.join();
  return counted;
}

// The others of the family: 50 wait, all of whom a last call lets in.
detached acquire_once(gate& start, interlock::async_semaphore& permits) {
  co_await start;
  const auto mine = co_await permits.acquire();
}

double waiting_acquire() {
  gate start;
  interlock::async_semaphore permits(1);
  std::optional mine(permits.try_acquire());
  for (int i = 0; i < visitors; ++i) acquire_once(start, permits);
  return start.open([&] { mine.reset(); });
}

detached read_or_write(gate& start, interlock::async_shared_mutex& mutex, bool write) {
  co_await start;
  if (write) {
    const auto held = co_await mutex.lock();
  } else {
    const auto held = co_await mutex.lock_shared();
  }
}

double waiting_readers_and_writers() {
  gate start;
  interlock::async_shared_mutex mutex;
  std::optional held(mutex.try_lock());
  for (int i = 0; i < visitors; ++i) read_or_write(start, mutex, i % 10 == 0);
  return start.open([&] { held.reset(); });
}

detached wait_once(gate& start, interlock::async_manual_reset_event& event) {
  co_await start;
  const interlock::wait_status how = co_await event.wait();
  benchmark::DoNotOptimize(how);
}

double waiting_for_an_event() {
  gate start;
  interlock::async_manual_reset_event event;
  for (int i = 0; i < visitors; ++i) wait_once(start, event);
  return start.open([&] { event.set(); });
}

detached wait_for_news(gate& start, async_mutex& mutex, interlock::async_condition& changed) {
  co_await start;
  auto held = co_await mutex.lock();
  const interlock::wait_status how = co_await changed.wait(held);
  benchmark::DoNotOptimize(how);
}

double waiting_for_news() {
  gate start;
  async_mutex mutex;
  interlock::async_condition changed;
  for (int i = 0; i < visitors; ++i) wait_for_news(start, mutex, changed);
  return start.open([&] { changed.notify_all(); });
}

detached lock_both(gate& start, async_mutex& one, async_mutex& two) {
  co_await start;
  const auto held = co_await interlock::lock_all(one, two);
}

double waiting_for_two() {
  gate start;
  async_mutex one;
  async_mutex two;
  auto held = one.try_lock();
  for (int i = 0; i < visitors; ++i) lock_both(start, one, two);
  return start.open([&] { held.unlock(); });
}

// The control: a call of a coroutine makes a frame, so this is 1.
double one_frame() {
  return gate().open([] { task<> frame = [](int) -> task<> { co_return; }(0); });
}

const bench::contenders here([] {
  const auto add = [](const std::string& way, double (*count)()) {
    bench::add_figure("async/allocations/interlock::" + way, "allocations", count);
  };
  add("task, its frame", one_frame);
  add("async_mutex, free", free_lock);
  add("async_mutex, 50 waiters", waiting_lock);
  add("async_mutex, 50 waiters, half cancelled, std::stop_token", stopped_lock<std::stop_source>);
  add("async_mutex, 50 waiters, half cancelled, inplace_stop_token",
      stopped_lock<interlock::inplace_stop_source>);
  add("async_mutex, 50 waiters, all too late", late_lock);
  add("async_mutex, 50 waiters, closed", closed_lock);
  add("async_mutex, try_lock and lock_blocking", from_threads);
  add("async_semaphore, 50 waiters", waiting_acquire);
  add("async_shared_mutex, 50 waiters, one in ten writes", waiting_readers_and_writers);
  add("async_manual_reset_event, 50 waiters", waiting_for_an_event);
  add("async_condition, 50 waiters", waiting_for_news);
  add("lock_all of two, 50 waiters", waiting_for_two);
});

}  // namespace
}  // namespace async
