// SPDX-License-Identifier: BSL-1.0
// How often operator new is called on each way through a lock; of frames and threads, which are
// made before, nothing counts.

#include <deque>

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
});

}  // namespace
}  // namespace async
