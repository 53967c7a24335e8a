// SPDX-License-Identifier: BSL-1.0
// async_mutex: waits that end early (stop, deadline, close, a bound), waiters that are destroyed,
// threads among coroutines, and what run_exclusive says of an f that did not run.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/timer_thread.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::manual_timer;
using interlock::max_waiters;
using interlock::reschedule;
using interlock::run_result;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_all;
using std::chrono::milliseconds;
using support::detached;

static_assert(sizeof(async_mutex) <= 32);
static_assert(sizeof(std::declval<async_mutex&>().lock()) <= 48);
static_assert(sizeof(std::declval<async_mutex&>().lock(inplace_stop_token())) <= 128);
static_assert(sizeof(std::declval<async_mutex&>().lock_until(
                  std::declval<interlock::timer_thread&>(), {})) <= 128);
#if defined(__cpp_lib_jthread)
static_assert(sizeof(std::declval<async_mutex&>().lock(std::stop_token())) <= 128);
#endif

namespace {

using notes = std::vector<std::string>;

template <class... Stop>
detached enter(async_mutex& mutex, notes& to, std::string name, Stop... stop) {
  const auto held = co_await mutex.lock(stop...);
  to.push_back(name + " " + to_string(held.status()));
}
detached enter_until(async_mutex& mutex, notes& to, std::string name, manual_timer& timer, int ms,
                     inplace_stop_token stop = {}) {
  const auto held = co_await mutex.lock_until(timer, timer.now() + milliseconds(ms), stop);
  to.push_back(name + " " + to_string(held.status()));
}

template <class... Stop>
task<> count_when_owner(async_mutex& mutex, std::size_t& owners, std::size_t& refused,
                        Stop... stop) {
  const auto held = co_await mutex.lock(stop...);
  ++(held ? owners : refused);
}

bool is_free(async_mutex& mutex) { return mutex.try_lock().owns_lock(); }

}  // namespace

TEST_CASE("a stop ends the wait of its coroutine alone, at once and in O(1)") {
  async_mutex mutex;
  notes told;
  std::array<inplace_stop_source, 3> stops;
  auto owner = mutex.try_lock();
  enter(mutex, told, "a", stops[0].get_token());
  enter(mutex, told, "plain");
  enter(mutex, told, "b", stops[1].get_token());
  enter(mutex, told, "c", stops[2].get_token());
  CHECK(mutex.waiters_approx() == 4);
  stops[1].request_stop();
  CHECK(told == notes{"b cancelled"});
  CHECK(mutex.waiters_approx() == 3);
  owner.unlock();
  CHECK(told == notes{"b cancelled", "a acquired", "plain acquired", "c acquired"});
  stops[0].request_stop();  // too late
  CHECK(told.size() == 4);
  CHECK(is_free(mutex));
}

TEST_CASE("a deadline ends the wait, and so does a stop before it") {
  async_mutex mutex;
  manual_timer timer;
  inplace_stop_source stop;
  notes told;
  auto owner = mutex.try_lock();
  enter_until(mutex, told, "late", timer, 10);
  enter_until(mutex, told, "stopped", timer, 20, stop.get_token());
  enter_until(mutex, told, "in time", timer, 30);
  timer.advance_to(timer.now() + milliseconds(10));
  CHECK(told == notes{"late timed out"});
  stop.request_stop();
  owner.unlock();
  CHECK(told == notes{"late timed out", "stopped cancelled", "in time acquired"});
  timer.advance_to(timer.now() + milliseconds(100));
  CHECK(told.size() == 3);
  CHECK(is_free(mutex));
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a std::stop_token ends a wait from another thread") {
  async_mutex mutex;
  notes told;
  std::stop_source stop;
  const auto owner = mutex.try_lock();
  enter(mutex, told, "a", stop.get_token());
  std::thread([&] { stop.request_stop(); }).join();
  CHECK(told == notes{"a cancelled"});
}
#endif

TEST_CASE("close tells all: who may leave at once, the others when the owner unlocks") {
  async_mutex mutex;
  notes told;
  inplace_stop_source stop;
  std::atomic<int> thread_told{-1};
  auto owner = mutex.try_lock();
  for (int i = 0; i < 3; ++i) enter(mutex, told, "plain");
  owner.unlock();
  CHECK(told.size() == 3);
  told.clear();

  // One of them keeps it: those behind are its run by then.
  const auto keeps = [](async_mutex& door, async_mutex::guard& to) -> detached {
    to = co_await door.lock();
  };
  owner = mutex.try_lock();
  async_mutex::guard kept;
  keeps(mutex, kept);
  enter(mutex, told, "run");
  enter(mutex, told, "run");
  owner.unlock();
  CHECK(told.empty());
  enter(mutex, told, "stack");
  enter(mutex, told, "leaver", stop.get_token());
  std::thread blocked([&] { thread_told = static_cast<int>(mutex.lock_blocking().status()); });
  while (mutex.waiters_approx() < 5) std::this_thread::yield();
  mutex.close();
  blocked.join();
  CHECK(thread_told == static_cast<int>(wait_status::closed));
  CHECK(told == notes{"stack closed", "leaver closed"});
  CHECK(mutex.closed());
  CHECK(mutex.held());
  kept.unlock();
  CHECK(told == notes{"stack closed", "leaver closed", "run closed", "run closed"});
  CHECK_FALSE(mutex.held());
  enter(mutex, told, "after");
  enter(mutex, told, "after", stop.get_token());
  CHECK(told.back() == "after closed");
  CHECK(mutex.try_lock().status() == wait_status::closed);
  CHECK(mutex.lock_blocking().status() == wait_status::closed);
}

TEST_CASE("with a bound, one more than may wait is told overloaded at once") {
  async_mutex mutex{max_waiters{2}};
  notes told;
  inplace_stop_source stop;
  auto owner = mutex.try_lock();
  enter(mutex, told, "1", stop.get_token());
  enter(mutex, told, "2");
  enter(mutex, told, "3");
  enter(mutex, told, "4", stop.get_token());
  CHECK(told == notes{"3 overloaded", "4 overloaded"});
  CHECK(mutex.lock_blocking().status() == wait_status::overloaded);
  CHECK(mutex.waiters_approx() == 2);
  stop.request_stop();
  enter(mutex, told, "5");
  owner.unlock();
  CHECK(told == notes{"3 overloaded", "4 overloaded", "1 cancelled", "2 acquired", "5 acquired"});

  async_mutex nobody_waits{max_waiters{0}};
  owner = nobody_waits.try_lock();
  enter(nobody_waits, told, "6");
  CHECK(told.back() == "6 overloaded");
  owner.unlock();
}

TEST_CASE("a blocked thread gives up at its deadline") {
  async_mutex mutex;
  auto owner = mutex.try_lock();
  const auto now = std::chrono::steady_clock::now();
  CHECK(mutex.lock_blocking_until(now - milliseconds(1)).status() == wait_status::timed_out);
  CHECK(mutex.lock_blocking_until(now + milliseconds(5)).status() == wait_status::timed_out);
  CHECK(std::chrono::steady_clock::now() >= now + milliseconds(5));
  CHECK(mutex.waiters_approx() == 0);
  owner.unlock();
  CHECK(mutex.lock_blocking_until(now).owns_lock());
  CHECK(is_free(mutex));
}

// ---- run_exclusive ------------------------------------------------------------------------------

TEST_CASE("an f that did not run does not look as if it had") {
  async_mutex mutex;
  inplace_stop_source stop;
  bool ran = false;
  std::vector<wait_status> told;
  const auto plain = [&]() -> task<> {
    const auto done = co_await mutex.run_exclusive([&] { ran = true; }, stop.get_token());
    told.push_back(done.status());
    const auto number = co_await mutex.run_exclusive([&] { return 1; }, stop.get_token());
    told.push_back(number.status());
  };
  const auto awaited = [&]() -> task<> {
    const auto work = [&]() -> task<int> {
      ran = true;
      co_return 1;
    };
    const auto number = co_await mutex.run_exclusive(work, stop.get_token());
    told.push_back(number.status());
  };
  const auto stops = [&]() -> task<> {
    stop.request_stop();
    co_return;
  };
  const auto owner = mutex.try_lock();
  std::vector<task<>> all;
  all.push_back(plain());
  all.push_back(awaited());
  all.push_back(stops());
  sync_wait(when_all(std::move(all)));
  CHECK_FALSE(ran);
  CHECK(told == std::vector<wait_status>(3, wait_status::cancelled));
}

TEST_CASE("a refusal by run_exclusive that nobody asks about ends in a sentence") {
  const auto refused = [](auto use) {
    return support::death_message([use] {
      async_mutex mutex;
      mutex.close();
      const auto work = [&]() -> task<> { use(co_await mutex.run_exclusive([] { return 1; })); };
      sync_wait(work());
    });
  };
  CHECK(refused([](auto&&) {}) ==
        "interlock: run_exclusive was refused (cancelled, timed out, closed or overloaded), its "
        "callable did not run, and nobody asked: look at the result, if (!result), before you go "
        "on\n");
  CHECK(refused([](auto&& result) { *result = 2; }) ==
        "interlock: run_exclusive: the result of a callable that did not run; ask ran() first\n");
  CHECK(refused([](auto&& result) { static_cast<void>(result.status()); }) == "(survived)");
}

// ---- destruction --------------------------------------------------------------------------------

namespace {
template <class... Stop>
support::owned waits(async_mutex& mutex, notes& to, std::string name, Stop... stop) {
  const auto held = co_await mutex.lock(stop...);
  to.push_back(name + " " + to_string(held.status()));
}
}  // namespace

TEST_CASE("a coroutine that is destroyed while it waits leaves, wherever it waits") {
  for (const int gone : {0, 1, 2, 3}) {
    async_mutex mutex;
    notes told;
    inplace_stop_source stop;
    auto owner = mutex.try_lock();
    const bool in_run = gone == 3;
    std::vector<support::owned> all;
    if (in_run) all.push_back(waits(mutex, told, "first", stop.get_token()));
    all.push_back(waits(mutex, told, "0"));
    all.push_back(in_run ? waits(mutex, told, "1") : waits(mutex, told, "1", stop.get_token()));
    all.push_back(waits(mutex, told, "2"));
    const auto at = static_cast<std::size_t>(in_run ? 2 : gone);
    all[at].handle.destroy();
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(at));
    CHECK(mutex.waiters_approx() == all.size());
    owner.unlock();
    CHECK(told.size() == all.size());
    CHECK(std::is_sorted(told.begin() + (in_run ? 1 : 0), told.end()));
    CHECK(is_free(mutex));
    for (const support::owned& each : all) each.handle.destroy();
  }
}

TEST_CASE("what was granted to a coroutine that is destroyed before it goes on is passed on") {
  async_mutex mutex;
  notes told;
  inplace_stop_source stop;
  for (const bool leaver : {false, true}) {
    told.clear();
    const auto body = [&]() -> task<> {
      auto owner = co_await mutex.lock();
      const support::owned granted = leaver ? waits(mutex, told, "granted", stop.get_token())
                                            : waits(mutex, told, "granted");
      const support::owned behind = waits(mutex, told, "behind");
      owner.unlock();            // `granted` is ready on this thread, and owns the mutex
      granted.handle.destroy();  // now `behind` does
      co_await reschedule();
      behind.handle.destroy();
    };
    sync_wait(body());
    CHECK(told == notes{"behind acquired"});
    CHECK(is_free(mutex));
  }
}

// ---- where they resume --------------------------------------------------------------------------

TEST_CASE("a waiter resumes where its executor says; inline, hand-overs nest") {
  async_mutex mutex;
  std::vector<std::function<void()>> jobs;
  notes told;
  const auto elsewhere = [&](auto f) { jobs.push_back(f); };
  const auto go = [&](std::string name) -> detached {
    const auto held = co_await mutex.lock().resume_on(elsewhere);
    told.push_back(name + " " + to_string(held.status()));
  };
  auto owner = mutex.try_lock();
  go("a");
  owner.unlock();
  CHECK(told.empty());
  CHECK(mutex.held());
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(told == notes{"a acquired"});

  // The recursion in unlock that others have, and that the default has not.
  int depth = 0;
  int deepest = 0;
  const auto nests = [&](bool inline_) -> detached {
    async_mutex::guard held;  // GCC 12 miscompiles c ? co_await a : co_await b
    if (inline_) {
      held = co_await mutex.lock().resume_inline();
    } else {
      held = co_await mutex.lock();
    }
    deepest = std::max(deepest, ++depth);
    held.unlock();
    --depth;
  };
  for (const bool inline_ : {false, true}) {
    deepest = 0;
    owner = mutex.try_lock();
    for (int i = 0; i < 100; ++i) nests(inline_);
    owner.unlock();
    CHECK(deepest == (inline_ ? 100 : 1));
  }
}

TEST_CASE("a million waiters that may leave are granted, cancelled or closed on a small stack") {
  const std::size_t length = support::rounds(1'000'000);
  enum { unlocked, stopped, closed };
  for (const int how : {unlocked, stopped, closed}) {
    async_mutex mutex;
    inplace_stop_source stop;
    std::size_t owners = 0;
    std::size_t refused = 0;
    const auto ends_it = [&]() -> task<> {
      auto held = co_await mutex.lock();
      co_await reschedule();  // all others queue
      if (how == stopped) stop.request_stop();
      if (how == closed) mutex.close();
      held.unlock();
    };
    REQUIRE(support::on_small_stack([&] {
      std::vector<task<>> tasks;
      tasks.push_back(ends_it());
      for (std::size_t i = 0; i < length; ++i) {
        tasks.push_back(count_when_owner(mutex, owners, refused, stop.get_token()));
      }
      sync_wait(when_all(std::move(tasks)));
    }));
    CHECK(owners == (how == unlocked ? length : 0));
    CHECK(refused == (how == unlocked ? 0 : length));
  }
}

TEST_CASE("waits that may end early allocate nothing") {
  async_mutex mutex;
  manual_timer timer;
  inplace_stop_source stop;
  std::size_t owners = 0;
  std::size_t refused = 0;
  const auto visit = [&](async_mutex& door, bool until) -> task<> {
    for (int i = 0; i < 5; ++i) {
      async_mutex::guard held;
      if (until) {
        held = co_await door.lock_until(timer, timer.now() + milliseconds(1));
      } else {
        held = co_await door.lock(stop.get_token());
      }
      ++(held ? owners : refused);
      co_await reschedule();
      if (owners == 20) stop.request_stop();
      if (owners == 30) timer.advance_to(timer.now() + milliseconds(1));
    }
  };
  std::vector<task<>> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(visit(mutex, i % 2 == 0));
  auto all = when_all(std::move(tasks));
  const std::size_t before = support::allocations();
  sync_wait(std::move(all));
  {
    const auto owner = mutex.try_lock();
    CHECK_FALSE(mutex.lock_blocking_until(std::chrono::steady_clock::now() + milliseconds(1)));
    mutex.close();
  }
  CHECK(support::allocations() == before);
  CHECK(owners + refused == 100);
  CHECK(refused > 0);
}

// ---- fairness -----------------------------------------------------------------------------------

TEST_CASE("fifty coroutines that may leave take strict turns") {
  const std::size_t times = support::rounds(2'000);
  async_mutex mutex;
  inplace_stop_source stop;
  std::vector<int> order;
  const auto visit = [&](int id) -> task<> {
    for (std::size_t i = 0; i < times; ++i) {
      async_mutex::guard held;
      if (id % 2 == 0) {
        held = co_await mutex.lock(stop.get_token());
      } else {
        held = co_await mutex.lock();
      }
      if (held) order.push_back(id);
      co_await reschedule();
    }
  };
  std::vector<task<>> tasks;
  for (int id = 0; id < 50; ++id) tasks.push_back(visit(id));
  sync_wait(when_all(std::move(tasks)));
  REQUIRE(order.size() == 50 * times);
  std::size_t out_of_turn = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<int>(i % 50)) ++out_of_turn;
  }
  CHECK(out_of_turn == 0);
}

TEST_CASE("a thread gets its turn though coroutines always wait") {
  async_mutex mutex;
  std::atomic<bool> done{false};
  std::size_t turns_before = 0;
  std::size_t turns = 0;
  std::atomic<bool> going{false};
  std::thread one([&] {
    while (!going.load()) std::this_thread::yield();
    const auto held = mutex.lock_blocking();
    turns_before = turns;
    done.store(true);
  });
  const auto visit = [&]() -> task<> {
    while (!done.load()) {
      const auto held = co_await mutex.lock();
      ++turns;
      going.store(true);
      co_await reschedule();
    }
  };
  std::vector<task<>> tasks;
  for (int i = 0; i < 10; ++i) tasks.push_back(visit());
  sync_wait(when_all(std::move(tasks)));  // ends: the thread got it
  one.join();
  CHECK(turns_before > 0);
}

namespace {

// What libcoro does: an unlock hands the lock to the newest of those who wait.
class newest_first {
public:
  class turn : public interlock::detail::coroutine_waiter {
  public:
    explicit turn(newest_first& lock) : lock_(lock) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> self) noexcept {
      if (!std::exchange(lock_.held_, true)) return false;
      continuation = self;
      next = std::exchange(lock_.newest_, static_cast<interlock::detail::waiter*>(this));
      return true;
    }
    newest_first* await_resume() const noexcept { return &lock_; }

  private:
    newest_first& lock_;
  };
  turn lock() noexcept { return turn(*this); }
  void unlock() noexcept {
    if (newest_ == nullptr) {
      held_ = false;
    } else {
      std::exchange(newest_, newest_->next)->wake();
    }
  }

private:
  bool held_ = false;
  interlock::detail::waiter* newest_ = nullptr;
};

// Returns: how many turns the others had had at least when the first of fifty was done.
template <class Lock, class Unlock>
std::size_t least_turns(Lock& lock, std::size_t times, Unlock unlock) {
  std::array<std::size_t, 50> turns{};
  std::size_t least = times;
  const auto visit = [&](std::size_t& mine) -> task<> {
    while (mine < times) {
      auto held = co_await lock.lock();
      ++mine;
      co_await reschedule();
      if (mine == times) least = std::min(least, *std::min_element(turns.begin(), turns.end()));
      unlock(held);
    }
  };
  std::vector<task<>> tasks;
  for (std::size_t& mine : turns) tasks.push_back(visit(mine));
  sync_wait(when_all(std::move(tasks)));
  return least;
}

}  // namespace

TEST_CASE("negative control: a mutex that prefers the newest starves the others") {
  newest_first naive;
  CHECK(least_turns(naive, 200, [](newest_first* held) { held->unlock(); }) <= 1);
  async_mutex ours;
  CHECK(least_turns(ours, 200, [](async_mutex::guard& held) { held.unlock(); }) == 199);
}
