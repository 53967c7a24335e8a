// SPDX-License-Identifier: BSL-1.0
// How often operator new is called on each way through a lock; of frames and threads, which are
// made before, nothing counts.

#include <interlock/async_mutex.hpp>

#include <functional>

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
  add("async_mutex, try_lock and lock_blocking", from_threads);
});

}  // namespace
}  // namespace async
