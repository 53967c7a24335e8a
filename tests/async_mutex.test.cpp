// SPDX-License-Identifier: BSL-1.0
// async_mutex: ownership, order, guards, run_exclusive, lifetime and misuse.

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <algorithm>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

static_assert(sizeof(async_mutex) <= 32);
static_assert(sizeof(std::declval<async_mutex&>().lock()) <= 48);
static_assert(alignof(decltype(std::declval<async_mutex&>().lock())) <= 16);
static_assert(!std::is_copy_constructible_v<async_mutex>);
static_assert(!std::is_copy_constructible_v<async_mutex::guard>);
static_assert(std::is_nothrow_move_constructible_v<async_mutex::guard>);
static_assert(std::is_nothrow_move_assignable_v<async_mutex::guard>);
static_assert(std::is_nothrow_destructible_v<async_mutex::guard>);

// std::lock_guard must not compile with it: it would discard the awaitable of lock().
template <class M>
concept can_unlock = requires(M& m) { m.unlock(); };
static_assert(can_unlock<std::mutex> && !can_unlock<async_mutex>);

// run_exclusive must see what it would have to await.
constexpr auto gives_nothing = [] {};
constexpr auto gives_a_task = []() -> task<> { co_return; };
constexpr auto gives_an_awaiter = [] { return reschedule(); };
static_assert(!interlock::detail::awaitable_function<decltype(gives_nothing)>);
static_assert(!interlock::detail::coroutine_function<decltype(gives_nothing)>);
static_assert(interlock::detail::coroutine_function<decltype(gives_a_task)>);
static_assert(interlock::detail::awaitable_function<decltype(gives_an_awaiter)>);

using support::detached;

namespace {

detached append_from_another_kind(async_mutex& mutex, std::vector<int>& order, int id) {
  const auto held = co_await mutex.lock();
  order.push_back(id);
}

bool is_free(async_mutex& mutex) { return mutex.try_lock().owns_lock(); }

task<> acquire_often(async_mutex& mutex, std::size_t times, std::size_t& acquired,
                     std::vector<std::size_t*>& order) {
  for (std::size_t i = 0; i < times; ++i) {
    const auto held = co_await mutex.lock();
    ++acquired;
    order.push_back(&acquired);
    co_await reschedule();
  }
}

task<> append_when_owner(async_mutex& mutex, std::vector<int>& order, int id) {
  const auto held = co_await mutex.lock();
  order.push_back(id);
}

task<> count_when_owner(async_mutex& mutex, std::size_t& count) {
  const auto held = co_await mutex.lock();
  ++count;
}

task<> add_without_lock(int& balance) {
  const int before = balance;
  co_await reschedule();
  balance = before + 1;
}

task<> add_with_lock(async_mutex& mutex, int& balance) {
  const auto held = co_await mutex.lock();
  co_await add_without_lock(balance);
}

template <class Make>
std::vector<task<>> fifty(Make make) {
  std::vector<task<>> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(make(i));
  return tasks;
}

}  // namespace

TEST_CASE("At most one guard owns the mutex at any time") {
  async_mutex mutex;
  {
    const auto held = mutex.try_lock();
    CHECK(held);
    CHECK_FALSE(is_free(mutex));
  }
  CHECK(is_free(mutex));
  {
    const auto held = mutex.lock_blocking();
    CHECK_FALSE(is_free(mutex));
  }
  {
    const auto held = sync_wait(mutex.lock());
    CHECK_FALSE(is_free(mutex));
  }
  CHECK(is_free(mutex));

  const std::size_t each = support::rounds(20'000);
  std::atomic<int> inside{0};
  std::atomic<int> crowds{0};
  const auto enter = [&] {
    if (inside.fetch_add(1, std::memory_order_relaxed) != 0) crowds.fetch_add(1);
    inside.fetch_sub(1, std::memory_order_relaxed);
  };
  const auto visit = [&]() -> task<> {
    const auto held = co_await mutex.lock();
    enter();
  };
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id % 2 == 0) {
        const auto held = mutex.lock_blocking();
        enter();
      } else {
        sync_wait(visit());
      }
    }
  });
  CHECK(crowds == 0);
}

TEST_CASE("Coroutines get it in the order in which they queued") {
  async_mutex mutex;
  std::vector<int> order;
  const auto queue_all = [](async_mutex& door, std::vector<int>& to) -> task<> {
    auto held = co_await door.lock();
    auto waiters = fifty([&](int id) { return append_when_owner(door, to, id); });
    auto all = when_all(std::move(waiters));
    const auto unlock_later = [](async_mutex::guard guard) -> task<> {
      co_await reschedule();  // all of them queue meanwhile
      guard.unlock();
    };
    std::vector<task<>> both;
    both.push_back(std::move(all));
    both.push_back(unlock_later(std::move(held)));
    co_await when_all(std::move(both));
  };
  sync_wait(queue_all(mutex, order));
  REQUIRE(order.size() == 50);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("fifty coroutines that lock again and again take strict turns") {
  const std::size_t times = support::rounds(2'000);
  async_mutex mutex;
  std::vector<std::size_t> acquired(50, 0);
  std::vector<std::size_t*> order;
  sync_wait(when_all(fifty([&](int id) {
    return acquire_often(mutex, times, acquired[static_cast<std::size_t>(id)], order);
  })));
  const auto [least, most] = std::minmax_element(acquired.begin(), acquired.end());
  CHECK(*least == times);
  CHECK(*most == times);
  REQUIRE(order.size() == 50 * times);
  std::size_t out_of_turn = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] != &acquired[i % 50]) ++out_of_turn;
  }
  CHECK(out_of_turn == 0);
}

TEST_CASE("What one owner did is visible to the next") {
  async_mutex mutex;
  const std::size_t each = support::rounds(20'000);
  std::size_t plain = 0;  // a data race unless ownership orders it
  const auto add = [&]() -> task<> {
    const auto held = co_await mutex.lock();
    ++plain;
  };
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id % 2 == 0) {
        sync_wait(add());
      } else if (auto held = mutex.try_lock()) {
        ++plain;
      } else {
        held = mutex.lock_blocking();
        ++plain;
      }
    }
  });
  CHECK(plain == 4 * each);
}

TEST_CASE("A chain of a million hand-overs needs no deep stack") {
  const std::size_t length = support::rounds(1'000'000);
  async_mutex mutex;
  std::size_t count = 0;
  std::size_t count_before = 1;
  const auto start_the_chain = [&]() -> task<> {
    auto held = co_await mutex.lock();
    co_await reschedule();  // all others queue
    count_before = count;
    held.unlock();
  };
  REQUIRE(support::on_small_stack([&] {
    std::vector<task<>> tasks;
    tasks.push_back(start_the_chain());
    for (std::size_t i = 0; i < length; ++i) tasks.push_back(count_when_owner(mutex, count));
    sync_wait(when_all(std::move(tasks)));
  }));
  CHECK(count_before == 0);
  CHECK(count == length);
}

TEST_CASE("a plain thread that unlocks starts a chain of a million hand-overs") {
  const std::size_t length = support::rounds(1'000'000);
  async_mutex mutex;
  std::size_t count = 0;
  std::atomic<bool> queued{false};
  const auto announce = [&]() -> task<> {
    queued.store(true, std::memory_order_release);
    co_return;
  };
  REQUIRE(support::on_small_stack([&] {
    auto held = mutex.lock_blocking();
    std::thread others([&] {
      std::vector<task<>> tasks;
      for (std::size_t i = 0; i < length; ++i) tasks.push_back(count_when_owner(mutex, count));
      tasks.push_back(announce());  // runs once those before it have suspended
      sync_wait(when_all(std::move(tasks)));
    });
    while (!queued.load(std::memory_order_acquire)) std::this_thread::yield();
    held.unlock();
    others.join();
  }));
  CHECK(count == length);
}

TEST_CASE("Locking and unlocking allocate nothing") {
  async_mutex mutex;
  std::size_t count = 0;
  const auto hold_across_an_await = [](async_mutex& door, std::size_t& to) -> task<> {
    const auto held = co_await door.lock();
    const std::size_t before = to;
    co_await reschedule();
    to = before + 1;
  };
  auto all = when_all(fifty([&](int) { return hold_across_an_await(mutex, count); }));
  const std::size_t before = support::allocations();
  CHECK((before != 0 || !support::counts_allocations));
  sync_wait(std::move(all));
  for (int i = 0; i < 10; ++i) {
    const auto held = mutex.lock_blocking();
    const auto refused = mutex.try_lock();
    if (refused || mutex.try_run_exclusive([] {})) count = 0;
  }
  CHECK(support::allocations() == before);
  CHECK(count == 50);
}

TEST_CASE("run_exclusive with a plain callable allocates nothing") {
  async_mutex mutex;
  int balance = 0;
  const auto add = [](async_mutex& door, int& to) -> task<> {
    co_await door.run_exclusive([&to] { ++to; });
    co_await reschedule();
    co_await door.run_exclusive([&to] { ++to; });
  };
  auto all = when_all(fifty([&](int) { return add(mutex, balance); }));
  const std::size_t before = support::allocations();
  sync_wait(std::move(all));
  CHECK(support::allocations() == before);
  CHECK(balance == 100);
}

TEST_CASE("A callable that throws inside run_exclusive leaves the mutex unlocked") {
  async_mutex mutex;
  const auto thrower = []() -> int { throw std::runtime_error("plain"); };
  const auto async_thrower = []() -> task<int> {
    co_await reschedule();
    throw std::runtime_error("awaited");
  };
  CHECK_THROWS_AS(sync_wait(mutex.run_exclusive(thrower)), std::runtime_error);
  CHECK(is_free(mutex));
  CHECK_THROWS_AS(sync_wait(mutex.run_exclusive(async_thrower)), std::runtime_error);
  CHECK(is_free(mutex));
  CHECK_THROWS_AS(mutex.try_run_exclusive(thrower), std::runtime_error);
  CHECK(is_free(mutex));
  auto work = mutex.try_run_exclusive(async_thrower);
  REQUIRE(work);
  CHECK_THROWS_AS(sync_wait(std::move(*work)), std::runtime_error);
  CHECK(is_free(mutex));
}

TEST_CASE("read, await, write loses updates on one thread unless the mutex is held across it") {
  async_mutex mutex;
  int unprotected = 0;
  int with_mutex = 0;
  sync_wait(when_all(fifty([&](int) { return add_without_lock(unprotected); })));
  sync_wait(when_all(fifty([&](int) { return add_with_lock(mutex, with_mutex); })));
  CHECK(unprotected == 1);
  CHECK(with_mutex == 50);
}

TEST_CASE("run_exclusive gives what the callable gives") {
  async_mutex mutex;
  int target = 0;
  CHECK(*sync_wait(mutex.run_exclusive([&] { return is_free(mutex); })) == false);
  CHECK(sync_wait(mutex.run_exclusive([&] { target = 1; })).ran());
  CHECK(target == 1);
  *sync_wait(mutex.run_exclusive([&]() -> int& { return target; })) = 2;
  CHECK(target == 2);
  CHECK(**sync_wait(mutex.run_exclusive([] { return std::make_unique<int>(3); })) == 3);
  CHECK(**sync_wait(mutex.run_exclusive([p = std::make_unique<int>(4)]() mutable {
    return std::move(p);
  })) == 4);
  const auto named = sync_wait(mutex.run_exclusive([] { return std::string("five"); }));
  CHECK(*named == "five");
  CHECK(named->size() == 4);
  static_assert(std::is_same_v<decltype(*named), const std::string&>);
  CHECK(is_free(mutex));
}

TEST_CASE("run_exclusive awaits a coroutine before it unlocks") {
  async_mutex mutex;
  const auto ask = [&mutex]() -> task<bool> {
    co_await reschedule();
    co_return is_free(mutex);
  };
  const auto nothing = [&mutex]() -> task<> {
    co_await reschedule();
    static_cast<void>(mutex);
  };
  CHECK_FALSE(*sync_wait(mutex.run_exclusive(ask)));
  sync_wait(mutex.run_exclusive(nothing));
  CHECK(is_free(mutex));
}

TEST_CASE("try_run_exclusive tells busy from done") {
  async_mutex mutex;
  CHECK(mutex.try_run_exclusive([] { return 5; }) == 5);
  CHECK(mutex.try_run_exclusive([] {}));
  const auto held = mutex.try_lock();
  bool called = false;
  CHECK(mutex.try_run_exclusive([&] { return called = true; }) == std::nullopt);
  CHECK_FALSE(mutex.try_run_exclusive([&] { called = true; }));
  CHECK_FALSE(called);
}

TEST_CASE("try_run_exclusive gives a coroutine that owns the mutex until it is done") {
  async_mutex mutex;
  const auto ask = [&mutex]() -> task<bool> {
    co_await reschedule();
    co_return is_free(mutex);
  };
  {
    auto first = mutex.try_run_exclusive(ask);
    REQUIRE(first);
    CHECK_FALSE(mutex.try_run_exclusive(ask));
    CHECK_FALSE(sync_wait(std::move(*first)));
    CHECK(is_free(mutex));  // though the task still exists
  }
  { const auto never_awaited = mutex.try_run_exclusive(ask); }
  CHECK(is_free(mutex));
}

TEST_CASE("a guard moves, swaps, releases and adopts") {
  async_mutex a;
  async_mutex b;
  async_mutex::guard empty;
  CHECK_FALSE(empty);
  CHECK(empty.mutex() == nullptr);

  auto first = a.try_lock();
  auto second = b.try_lock();
  CHECK(first.mutex() == &a);
  first = std::move(second);  // unlocks a
  CHECK(is_free(a));
  CHECK_FALSE(is_free(b));
  CHECK(first.mutex() == &b);

  swap(first, empty);
  CHECK_FALSE(first);
  CHECK(empty.owns_lock());
  empty.unlock();
  CHECK_FALSE(empty);
  CHECK(is_free(b));

  auto third = a.try_lock();
  auto& same = third;
  third = std::move(same);
  CHECK(third.owns_lock());
  async_mutex* const released = third.release();
  CHECK(released == &a);
  CHECK_FALSE(is_free(a));
  { const async_mutex::guard adopted(*released, std::adopt_lock); }
  CHECK(is_free(a));
}

TEST_CASE("a waiter goes on after the coroutine that unlocks has suspended and on its thread") {
  async_mutex mutex;
  std::vector<std::string> log;
  std::thread::id unlocked_on;
  std::thread::id resumed_on;
  const auto owner = [&]() -> task<> {
    auto held = co_await mutex.lock();
    co_await reschedule();  // the other one queues
    unlocked_on = std::this_thread::get_id();
    held.unlock();
    log.emplace_back("after unlock");
  };
  const auto waiter = [&]() -> task<> {
    const auto held = co_await mutex.lock();
    resumed_on = std::this_thread::get_id();
    log.emplace_back("next owner");
  };
  std::vector<task<>> both;
  both.push_back(owner());
  both.push_back(waiter());
  sync_wait(when_all(std::move(both)));
  CHECK(log == std::vector<std::string>{"after unlock", "next owner"});
  CHECK(resumed_on == unlocked_on);
}

TEST_CASE("a plain thread that unlocks runs the next coroutine inside unlock") {
  async_mutex mutex;
  auto held = mutex.try_lock();
  std::atomic<bool> queueing{false};
  std::thread::id resumed_on;
  std::thread waiting([&] {
    const auto announce = [&]() -> task<> {
      queueing.store(true, std::memory_order_release);
      co_return;
    };
    const auto wait = [&]() -> task<> {
      const auto mine = co_await mutex.lock();
      resumed_on = std::this_thread::get_id();
    };
    std::vector<task<>> both;
    both.push_back(wait());
    both.push_back(announce());  // runs once the first has suspended in lock()
    sync_wait(when_all(std::move(both)));
  });
  while (!queueing.load(std::memory_order_acquire)) std::this_thread::yield();
  held.unlock();
  waiting.join();
  CHECK(resumed_on == std::this_thread::get_id());
}

TEST_CASE("coroutines of another kind wait for the mutex in order") {
  async_mutex mutex;
  std::vector<int> order;
  auto held = mutex.try_lock();
  for (int id = 0; id < 10; ++id) append_from_another_kind(mutex, order, id);
  CHECK(order.empty());
  held.unlock();  // runs all of them
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(is_free(mutex));
}

TEST_CASE("the last owner may destroy the mutex right after its unlock") {
  auto mutex = std::make_unique<async_mutex>();
  int left = 50;
  const auto visit = [](std::unique_ptr<async_mutex>& door, int& users) -> task<> {
    auto held = co_await door->lock();
    co_await reschedule();
    const bool last = --users == 0;
    held.unlock();
    if (last) door.reset();
  };
  sync_wait(when_all(fifty([&](int) { return visit(mutex, left); })));
  CHECK(mutex == nullptr);
}

TEST_CASE("misuse ends the process with a sentence") {
  CHECK(support::death_message([] {
          async_mutex::guard().unlock();
        }) == "interlock: async_mutex::guard::unlock: owns no mutex; ask owns_lock() first\n");
  CHECK(support::death_message([] {
          async_mutex mutex;
          async_mutex::guard(mutex, std::adopt_lock).unlock();
        }) ==
        "interlock: async_mutex: unlocked while free; adopt only a mutex that a guard released\n");
  CHECK(support::death_message([] {
          async_mutex mutex;
          static_cast<void>(mutex.try_lock().release());
        }) ==
        "interlock: ~async_mutex: still owned or waited for; let every guard and every waiter go "
        "first\n");
}
