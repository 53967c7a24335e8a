// SPDX-License-Identifier: BSL-1.0
// tracked_async_mutex: what it reports, what it does not, and that it is an async_mutex.

#include <interlock/async_condition.hpp>
#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/lock_all.hpp>
#include <interlock/lock_owner.hpp>
#include <interlock/lock_report.hpp>
#include <interlock/task.hpp>
#include <interlock/tracked_async_mutex.hpp>
#include <interlock/when_all.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/reports.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::lock_all;
using interlock::lock_all_blocking;
using interlock::lock_owner;
using interlock::lock_report;
using interlock::max_waiters;
using interlock::named;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::tracked_async_mutex;
using interlock::try_lock_all;
using interlock::wait_status;
using interlock::when_all;
using support::is;
using support::names;
using support::reports;

using guard = tracked_async_mutex::guard;
using list = std::vector<std::string>;
using kind = lock_report::kind;

static_assert(!std::is_copy_constructible_v<guard>);
static_assert(std::is_nothrow_move_constructible_v<guard>);
static_assert(std::is_nothrow_move_assignable_v<guard>);

// std::lock_guard must not compile with it.
template <class M>
concept can_unlock = requires(M& m) {
  m.unlock();
};
static_assert(can_unlock<std::mutex> && !can_unlock<tracked_async_mutex>);

// Names and owners are for tracked mutexes; in front of another they are not there.
static_assert(sizeof(lock_owner) == 2 * sizeof(void*));
static_assert(std::is_trivially_destructible_v<lock_owner>);
static_assert(std::is_same_v<decltype(std::declval<lock_owner&>().at(std::declval<async_mutex&>())),
                             async_mutex&>);

namespace {

unsigned line(std::source_location at = std::source_location::current()) {
  return at.line();
}

// Rings only for a deadline that has passed when it is set.
struct stopped_clock {
  using time_point = int;
  template <class F>
  class alarm {
  public:
    alarm(stopped_clock& clock, int deadline, F f) {
      if (deadline <= clock.now) f();
    }
  };
  int now = 0;
};

task<> lock_once(tracked_async_mutex& door) {
  const auto held = co_await door.lock();
}

task<> lock_twice(tracked_async_mutex& door) {
  const auto held = co_await door.lock();
  const auto again = co_await door.lock();
}

template <class Mutex>
support::detached enter(Mutex& mutex, std::vector<int>& order, int id) {
  const auto held = co_await mutex.lock();
  order.push_back(id);
}

}  // namespace

// ---- what is reported

TEST_CASE("A lock of what the caller owns is reported before it waits") {
  tracked_async_mutex door("door");
  {
    const reports told(reports::then::throw_if_certain);
    CHECK_THROWS_AS(sync_wait(lock_twice(door)), reports::deadlock);
    REQUIRE(told.size() == 1);
    CHECK(is(told[0], kind::relock, true));
    REQUIRE(told[0].parties.size() == 1);
    CHECK(told[0].parties[0].name == "coroutine 1");
    CHECK(names(told[0].parties[0].holds) == list{"door"});
    CHECK(names(told[0].parties[0].waits) == list{"door"});
    CHECK(told[0].parties[0].waits[0].at.line() == told[0].parties[0].holds[0].at.line() + 1);
  }
  {
    const reports told(reports::then::throw_if_certain);
    const auto held = door.lock_blocking();
    CHECK_THROWS_AS(static_cast<void>(door.lock_blocking()), reports::deadlock);
    REQUIRE(told.size() == 1);
    CHECK(told[0].parties[0].name == "thread 1");
    CHECK(told[0].parties[0].waits[0].at.line() == line() - 3);
  }
  CHECK_FALSE(door.held());
  CHECK(door.waiters_approx() == 0);

  const std::string text = support::death_message([&] { sync_wait(lock_twice(door)); });
  CHECK(text.find("interlock: deadlock: the owner of a mutex waits for it\n") == 0);
}

TEST_CASE("A circle of waits is reported when it closes with what each party holds and asks for") {
  // The naive form of the scenario: two transfers, each of which locks the account it takes from
  // and then asks for the other; both have the first lock before either asks for the second.
  tracked_async_mutex a("account A");
  tracked_async_mutex b("account B");
  const reports told(reports::then::throw_if_certain);
  std::latch both(2);
  std::atomic<int> through{0};
  std::atomic<int> stuck{0};
  const auto transfer = [&](tracked_async_mutex& from, tracked_async_mutex& to, const char* name) {
    const lock_owner me(name);
    const auto first = me.at(from).lock_blocking();
    both.arrive_and_wait();
    try {
      const auto second = me.at(to).lock_blocking();
      through.fetch_add(1);
    } catch (const reports::deadlock&) {
      stuck.fetch_add(1);
    }
  };
  support::run_threads(
      2, [&](std::size_t id) { id == 0 ? transfer(a, b, "A to B") : transfer(b, a, "B to A"); });
  CHECK(through == 1);
  CHECK(stuck == 1);
  REQUIRE(told.size() == 1);
  CHECK(is(told[0], kind::cycle, true));
  REQUIRE(told[0].parties.size() == 2);
  for (const auto& party : told[0].parties) {
    const bool forth = party.name == "A to B";
    CHECK((forth || party.name == "B to A"));
    CHECK(names(party.holds) == list{forth ? "account A" : "account B"});
    CHECK(names(party.waits) == list{forth ? "account B" : "account A"});
    CHECK(party.holds[0].at.file_name() == std::string(__FILE__));
    CHECK(party.waits[0].at.line() == party.holds[0].at.line() + 3);
  }
}

TEST_CASE("a circle of a thread and a coroutine is one too") {
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  const reports told(reports::then::throw_if_certain);
  std::latch have_a(1);
  std::latch have_b(1);
  std::atomic<int> through{0};
  const auto from_coroutine = [&]() -> task<> {
    const auto first = co_await a.lock();
    have_a.count_down();
    have_b.wait();
    const auto second = co_await b.lock();
    through.fetch_add(1);
  };
  support::run_threads(2, [&](std::size_t id) {
    try {
      if (id == 0) {
        sync_wait(from_coroutine());
      } else {
        have_a.wait();
        const auto first = b.lock_blocking();
        have_b.count_down();
        const auto second = a.lock_blocking();
        through.fetch_add(1);
      }
    } catch (const reports::deadlock&) {
    }
  });
  CHECK(through == 1);
  REQUIRE(told.size() == 1);
  CHECK(is(told[0], kind::cycle, true));
}

TEST_CASE("Two orders are reported once even if no deadlock happens") {
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  const reports told;
  const auto both = [](tracked_async_mutex& first, tracked_async_mutex& second) -> task<> {
    const auto one = co_await first.lock();
    const auto other = co_await second.lock();
  };
  for (int i = 0; i < 3; ++i) {
    sync_wait(both(a, b));
    CHECK(told.size() == (i == 0 ? 0U : 1U));
    sync_wait(both(b, a));
  }
  REQUIRE(told.size() == 1);
  CHECK(is(told[0], kind::order, false));
  CHECK(to_string(told[0]).find("coroutine 1, now\n    holds \"b\" since ") != std::string::npos);
}

TEST_CASE("a callee of an owner is one with it") {
  tracked_async_mutex door("door");
  const reports told(reports::then::throw_if_certain);
  const auto callee = [&](const lock_owner& caller) -> task<> {
    const lock_owner me("callee", caller);
    const auto again = co_await me.at(door).lock();
  };
  const auto caller = [&]() -> task<> {
    const lock_owner me("caller");
    const auto held = co_await me.at(door).lock();
    co_await callee(me);
  };
  CHECK_THROWS_AS(sync_wait(caller()), reports::deadlock);
  REQUIRE(told.size() == 1);
  CHECK(is(told[0], kind::relock, true));
  CHECK(told[0].parties[0].name == "callee");
  CHECK(told[0].parties[0].holds[0].note == "caller, which waits for it to end");
}

TEST_CASE("a task that locks what a task that awaits it owns is one with it") {
  tracked_async_mutex door("door");
  const reports told(reports::then::throw_if_certain);
  const auto nested = [&](auto self, int depth) -> task<> {
    if (depth == 0) co_return co_await lock_once(door);
    co_await self(self, depth - 1);
  };
  const auto in_many = [&](int depth) -> task<> {
    std::vector<task<>> children;
    for (int i = 0; i < 3; ++i) children.push_back(nested(nested, depth));
    co_await when_all(std::move(children));
  };
  const auto holds = [&](auto inner) -> task<> {
    const auto held = co_await door.lock();
    co_await inner();
  };
  CHECK_THROWS_AS(sync_wait(holds([&] { return nested(nested, 0); })), reports::deadlock);
  CHECK_THROWS_AS(sync_wait(holds([&] { return nested(nested, 9); })), reports::deadlock);
  CHECK(told.size() == 2);
  CHECK(told[1].parties[0].holds[0].note == "coroutine 2, which waits for it to end");
  CHECK_THROWS_AS(sync_wait(holds([&] { return in_many(2); })), reports::deadlock);
  CHECK_THROWS_AS(sync_wait(holds([&] { return when_all(lock_once(door), reschedule()); })),
                  reports::deadlock);
  {
    const auto held = door.lock_blocking();
    CHECK_THROWS_AS(sync_wait(nested(nested, 1)), reports::deadlock);
    CHECK(told[told.size() - 1].parties[0].holds[0].note == "thread 1, which waits for it to end");
  }
  const auto run = [&]() -> task<> {
    static_cast<void>(co_await door.run_exclusive([&] { return lock_once(door); }));
  };
  CHECK_THROWS_AS(sync_wait(run()), reports::deadlock);
  CHECK_THROWS_AS(sync_wait(*door.try_run_exclusive([&] { return lock_once(door); })),
                  reports::deadlock);
  for (const lock_report& one : told.all()) CHECK(is(one, kind::relock, true));
  CHECK_FALSE(door.held());
}

// ---- owners

TEST_CASE("What an owner locks is its own wherever the guard is moved") {
  tracked_async_mutex door("door");
  const reports told(reports::then::throw_if_certain);
  const lock_owner me("me");
  guard held = me.at(door).lock_blocking();
  std::vector<guard> elsewhere;
  elsewhere.push_back(std::move(held));
  CHECK_THROWS_AS(static_cast<void>(me.at(door).lock_blocking()), reports::deadlock);
  elsewhere.clear();

  guard other = door.lock_blocking();
  elsewhere.push_back(std::move(other));
  me.take_over(elsewhere.back());
  CHECK_THROWS_AS(static_cast<void>(me.at(door).lock_blocking()), reports::deadlock);
  CHECK(told.size() == 2);
  CHECK(told[1].parties[0].name == "me");
}

TEST_CASE("An owner waits with its parent: what the parent owns the child waits for in vain") {
  tracked_async_mutex door("door");
  const reports told(reports::then::throw_if_certain);
  const lock_owner parent("parent");
  const lock_owner child("child", parent);
  const lock_owner sibling("sibling", parent);
  {
    const auto held = parent.at(door).lock_blocking();
    CHECK_THROWS_AS(static_cast<void>(child.at(door).lock_blocking()), reports::deadlock);
  }
  const auto held = sibling.at(door).lock_blocking();
  const auto until = std::chrono::steady_clock::now();
  CHECK(child.at(door).lock_blocking_until(until).status() == wait_status::timed_out);
  CHECK(told.size() == 1);  // siblings may wait for each other
}

TEST_CASE("With a plain mutex an owner costs nothing and changes nothing") {
  auto door = named<async_mutex>("door");
  const lock_owner me("me");
  CHECK(&me.at(door) == &door);
  const auto held = sync_wait(me.at(door).lock());
  me.take_over(held);
  CHECK(held);
  CHECK_FALSE(me.at(door).try_lock());
  auto bounded = named<async_mutex>("bounded", max_waiters{0});
  const auto first = bounded.try_lock();
  CHECK(sync_wait(bounded.lock()).status() == wait_status::overloaded);
}

namespace {

// A coroutine of another kind whose promise says for whom it runs.
struct owned_job {
  struct promise_type {
    explicit promise_type(const lock_owner& owner, tracked_async_mutex&) : mine("job", owner) {}
    owned_job get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { failed = true; }
    const lock_owner* get_lock_owner() const { return &mine; }
    lock_owner mine;
    inline static bool failed = false;
  };
};

owned_job lock_as_promised(const lock_owner&, tracked_async_mutex& door) {
  const auto held = co_await door.lock();
}

}  // namespace

TEST_CASE("a promise can say for whom its coroutine runs") {
  tracked_async_mutex door("door");
  const reports told(reports::then::throw_if_certain);
  const lock_owner caller("caller");
  const auto held = caller.at(door).lock_blocking();
  lock_as_promised(caller, door);
  CHECK(owned_job::promise_type::failed);
  REQUIRE(told.size() == 1);
  CHECK(told[0].parties[0].name == "job");
}

// ---- what is not reported

TEST_CASE("A guard that moved is held against nobody") {
  tracked_async_mutex door("door");
  const reports told;
  {
    // Taken here, let go by another thread while this one waits for it again.
    std::vector<guard> box;
    box.push_back(door.lock_blocking());
    std::thread other([&] {
      while (door.waiters_approx() == 0) std::this_thread::yield();
      const guard mine = std::move(box.back());
    });
    const auto again = door.lock_blocking();
    other.join();
  }
  {
    // A coroutine locks for its caller and ends; the next one may have its frame's address.
    const auto lock_for = [&]() -> task<guard> { co_return co_await door.lock(); };
    const auto use = [&]() -> task<> {
      const guard mine = co_await lock_for();
      co_await reschedule();
    };
    std::vector<task<>> users;
    for (int i = 0; i < 20; ++i) users.push_back(use());
    sync_wait(when_all(std::move(users)));
  }
  {
    guard held = door.lock_blocking();
    auto* const loose = held.release();
    const guard adopted(*loose, std::adopt_lock);
    CHECK(adopted.mutex() == &door);
    CHECK(adopted);
  }
  CHECK(told.empty());
}

TEST_CASE("many coroutines of one thread take turns without a report") {
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  const reports told;
  int inside = 0;
  const auto nested = [&]() -> task<> {
    const auto first = co_await a.lock();
    co_await reschedule();
    const auto second = co_await b.lock();
    ++inside;
    co_await reschedule();
  };
  std::vector<task<>> all;
  for (int i = 0; i < 50; ++i) all.push_back(nested());
  for (int i = 0; i < 50; ++i) all.push_back(lock_once(b));
  sync_wait(when_all(std::move(all)));
  CHECK(inside == 50);
  CHECK(told.empty());
}

TEST_CASE("hand over hand along a list is no deadlock") {
  std::vector<std::unique_ptr<tracked_async_mutex>> nodes;
  for (int i = 0; i < 10; ++i) nodes.push_back(std::make_unique<tracked_async_mutex>("node"));
  const reports told;
  const auto walk = [&]() -> task<> {
    guard here = co_await nodes[0]->lock();
    for (std::size_t i = 1; i < nodes.size(); ++i) {
      guard next = co_await nodes[i]->lock();
      here = std::move(next);
      co_await reschedule();
    }
  };
  std::vector<task<>> walkers;
  for (int i = 0; i < 10; ++i) walkers.push_back(walk());
  sync_wait(when_all(std::move(walkers)));
  CHECK(told.empty());
}

namespace {

// Each node of the tree locks its level, then runs its children, which lock theirs.
task<> visit(std::vector<std::unique_ptr<tracked_async_mutex>>& levels, std::size_t depth,
             const lock_owner& caller) {
  if (depth == levels.size()) co_return;
  const lock_owner me("node", caller);
  const auto held = co_await me.at(*levels[depth]).lock();
  co_await reschedule();
  if (depth % 2 == 0) {
    co_await visit(levels, depth + 1, me);
  } else {
    const lock_owner left("left", me);
    const lock_owner right("right", me);
    std::vector<task<>> children;
    children.push_back(visit(levels, depth + 1, left));
    children.push_back(visit(levels, depth + 1, right));
    co_await when_all(std::move(children));
  }
}

}  // namespace

TEST_CASE("trees of tasks that do not lock what they own are no deadlock") {
  std::vector<std::unique_ptr<tracked_async_mutex>> levels;
  for (int i = 0; i < 7; ++i) levels.push_back(std::make_unique<tracked_async_mutex>("level"));
  const reports told;
  const lock_owner root("root");
  const lock_owner one("one", root);
  const lock_owner two("two", root);
  std::vector<task<>> trees;
  trees.push_back(visit(levels, 0, one));
  trees.push_back(visit(levels, 0, two));
  sync_wait(when_all(std::move(trees)));
  CHECK(told.empty());
}

TEST_CASE("siblings wait for each other and for those who took the lock by try") {
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  const reports told;
  const auto first = [&]() -> task<> {
    const auto held = a.try_lock();
    co_await reschedule();
    co_await lock_once(b);
    co_await reschedule();
  };
  const auto second = [&]() -> task<> {
    const auto held = co_await b.lock();
    co_await reschedule();
    co_await reschedule();
  };
  sync_wait(when_all(first(), second(), lock_once(a), lock_once(b), lock_once(a)));
  CHECK(told.empty());
}

TEST_CASE("locks by try and by address are in no order") {
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  const reports told;
  const auto by_trying = [](tracked_async_mutex& first, tracked_async_mutex& second) -> task<> {
    const auto one = co_await first.lock();
    const auto other = second.try_lock();
    CHECK(other);
  };
  sync_wait(by_trying(a, b));
  sync_wait(by_trying(b, a));
  CHECK(told.empty());
}

TEST_CASE("who is lent the guard may let go and lock again") {
  tracked_async_mutex door("door");
  const reports told;
  const auto wait_outside = [&](async_mutex::guard& held) {  // as a condition does
    auto* const plain = held.mutex();
    held.unlock();
    CHECK(door.try_lock());
    held = plain->lock_blocking();
  };
  auto held = door.lock_blocking();
  wait_outside(held);
  CHECK(held);
  CHECK(held.mutex() == &door);
  held.unlock();
  CHECK_FALSE(door.held());
  CHECK(told.empty());
}

TEST_CASE("lock_all of tracked mutexes tells nothing whatever order they are named in") {
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  tracked_async_mutex c("c");
  const reports told;
  int inside = 0;
  inplace_stop_source never;
  const auto all = [&](tracked_async_mutex& x, tracked_async_mutex& y) -> task<> {
    for (int i = 0; i < 5; ++i) {
      auto plain = co_await lock_all(x, y, c);
      co_await reschedule();
      ++inside;
      auto moved = std::move(plain);
      moved.unlock();
      const auto stoppable = co_await lock_all(y, x, never.get_token());
      if (stoppable) ++inside;
    }
  };
  std::vector<task<>> tasks;
  for (int i = 0; i < 10; ++i) tasks.push_back(i % 2 == 0 ? all(a, b) : all(b, a));
  sync_wait(when_all(std::move(tasks)));
  CHECK(inside == 100);
  support::run_threads(3, [&](std::size_t id) {
    for (int i = 0; i < 100; ++i) {
      const auto held = id == 0 ? lock_all_blocking(a, b) : lock_all_blocking(b, a);
      ++inside;
    }
  });
  CHECK(inside == 400);
  {
    const auto held = try_lock_all(a, b);
    CHECK(held);
    CHECK_FALSE(try_lock_all(b, c));
  }
  CHECK_FALSE(a.held());
  CHECK_FALSE(c.held());
  CHECK(told.empty());
}

TEST_CASE("who locks one by one against a lock_all closes a circle") {
  tracked_async_mutex both[] = {tracked_async_mutex("low"), tracked_async_mutex("high")};
  const reports told(reports::then::throw_if_certain);
  bool got_both = false;
  const auto at_once = [&]() -> task<> {
    const auto held = co_await lock_all(both[1], both[0]);
    got_both = held.owns_lock();
  };
  const auto one_by_one = [&]() -> task<> {
    const auto high = co_await both[1].lock();
    co_await reschedule();
    try {
      const auto low = co_await both[0].lock();
    } catch (const reports::deadlock&) {
    }
  };
  sync_wait(when_all(one_by_one(), at_once()));
  CHECK(got_both);
  REQUIRE(told.size() == 1);
  CHECK(is(told[0], kind::cycle, true));
  CHECK(names(told[0].parties[0].holds) == list{"high"});
  CHECK(names(told[0].parties[1].holds) == list{"low"});
  CHECK(to_string(told[0]).find("asks for \"high\" by lock_all\n") != std::string::npos);

  const auto relock = [&]() -> task<wait_status> {
    const auto held = co_await lock_all(both[0], both[1]);
    stopped_clock clock;
    const auto again = co_await both[0].lock_until(clock, 0);
    co_return again.status();
  };
  CHECK(sync_wait(relock()) == wait_status::timed_out);
  REQUIRE(told.size() == 2);
  CHECK(is(told[1], kind::relock, false));
  CHECK(to_string(told[1]).find("holds \"low\" by lock_all\n") != std::string::npos);
}

TEST_CASE("async_condition waits with the guard of a tracked mutex") {
  tracked_async_mutex door("door");
  interlock::async_condition filled;
  const reports told;
  int letters = 0;
  const auto take = [&]() -> task<int> {
    auto held = co_await door.lock();
    const auto how = co_await filled.wait(held, [&] { return letters != 0; });
    CHECK(how == wait_status::acquired);
    CHECK(held);
    co_return letters--;
  };
  const auto put = [&]() -> task<int> {
    const auto held = co_await door.lock();
    letters += 2;
    filled.notify_all();
    co_return 0;
  };
  const auto [first, second, none] = sync_wait(when_all(take(), take(), put()));
  CHECK(first == 2);
  CHECK(second == 1);
  CHECK(none == 0);
  CHECK_FALSE(door.held());
  CHECK(told.empty());
}

// ---- bad input

TEST_CASE("unlock by a stranger and of the unlocked are reported and unlock nothing") {
  tracked_async_mutex door("door");
  const reports told;
  {
    const guard nothing(door, std::adopt_lock);
    CHECK_FALSE(nothing);
  }
  REQUIRE(told.size() == 1);
  CHECK(is(told[0], kind::stranger, true));
  CHECK(told[0].parties[0].name == "nobody owns it");
  CHECK(told[0].parties[1].waits[0].at.line() == line() - 6);
  {
    const lock_owner me("owner");
    const auto held = me.at(door).lock_blocking();
    std::thread([&] { const guard stranger(door, std::adopt_lock); }).join();
    CHECK(door.held());
  }
  REQUIRE(told.size() == 2);
  CHECK(told[1].parties[0].name == "owner");
  CHECK(told[1].parties[1].name == "thread 1, which adopts it");
  CHECK(support::death_message([] { guard().unlock(); }) ==
        "interlock: async_mutex::guard::unlock: owns no mutex; ask owns_lock() first\n");
}

TEST_CASE("a relock that something else can end is reported and ends as in a release") {
  tracked_async_mutex door("door");
  const reports told(reports::then::throw_if_certain);
  const auto relock = [&](auto again) -> task<wait_status> {
    const auto held = co_await door.lock();
    const auto second = co_await again();
    co_return second.status();
  };
  stopped_clock clock;
  inplace_stop_source stop;
  const auto past = std::chrono::steady_clock::now();
  {
    const auto held = door.lock_blocking();
    CHECK(door.lock_blocking_until(past).status() == wait_status::timed_out);
    REQUIRE(told.size() == 1);
    CHECK(told[0].parties[0].waits[0].note == "ends by its deadline");
  }
  CHECK(sync_wait(relock([&] { return door.lock_until(clock, 0); })) == wait_status::timed_out);
  CHECK(told.size() == 2);
  const auto stop_it = [&]() -> task<wait_status> {
    CHECK(told.size() == 3);  // before it waits
    stop.request_stop();
    co_return wait_status::acquired;
  };
  std::vector<task<wait_status>> both;
  both.push_back(relock([&] { return door.lock(stop.get_token()); }));
  both.push_back(stop_it());
  CHECK(sync_wait(when_all(std::move(both)))[0] == wait_status::cancelled);
  for (const lock_report& one : told.all()) CHECK(is(one, kind::relock, false));
}

TEST_CASE("who is refused at once is not reported") {
  tracked_async_mutex door("door");
  const reports told;
  inplace_stop_source stop;
  stop.request_stop();
  const auto relock = [&](auto again) -> task<wait_status> {
    const auto held = co_await door.lock();
    const auto second = co_await again();
    co_return second.status();
  };
  CHECK(sync_wait(relock([&] { return door.lock(stop.get_token()); })) == wait_status::cancelled);
  CHECK(door.try_lock());
  const auto held = door.lock_blocking();
  CHECK(door.try_lock().status() == wait_status::timed_out);
  door.close();
  CHECK(sync_wait(door.lock()).status() == wait_status::closed);
  CHECK(door.lock_blocking().status() == wait_status::closed);
  CHECK(told.empty());
}

TEST_CASE("destruction while owned or waited for names who it is") {
  const std::string owned = support::death_message([] {
    const lock_owner me("me");
    tracked_async_mutex door("door");
    static_cast<void>(me.at(door).lock_blocking().release());
  });
  CHECK(owned.find(
            "interlock: a mutex is destroyed while it is in use\n  me\n    holds \"door\"") == 0);
  const std::string waited = support::death_message([] {
    std::vector<int> order;
    std::optional<tracked_async_mutex> door("door");
    guard held = door->lock_blocking();
    enter(*door, order, 1);
    door.reset();
  });
  CHECK(waited.find("  thread 1\n    holds \"door\"") != std::string::npos);
  CHECK(waited.find("  coroutine 1\n    asks for \"door\"") != std::string::npos);
}

TEST_CASE("a coroutine that is destroyed while it waits leaves no trace") {
  const reports told;
  tracked_async_mutex a("a");
  tracked_async_mutex b("b");
  const auto wait = [](tracked_async_mutex& door) -> support::owned {
    const auto held = co_await door.lock();
  };
  {
    const auto held = a.lock_blocking();
    const support::owned waiting = wait(a);
    CHECK(a.waiters_approx() == 1);
    waiting.handle.destroy();
    CHECK(a.waiters_approx() == 0);
  }
  CHECK(told.empty());
}

// ---- an async_mutex

TEMPLATE_TEST_CASE("A tracked mutex waits and answers as an async_mutex does", "", async_mutex,
                   tracked_async_mutex) {
  auto door = named<TestType>("door");
  std::vector<int> order;
  {
    auto held = door.try_lock();
    CHECK(held);
    CHECK(held.status() == wait_status::acquired);
    CHECK(held.mutex() == &door);
    CHECK(door.held());
    CHECK(door.try_lock().status() == wait_status::timed_out);
    for (int id = 0; id < 5; ++id) enter(door, order, id);
    CHECK(order.empty());
    CHECK(door.waiters_approx() == 5);
    held.unlock();
    CHECK_FALSE(held);
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
  }
  {
    stopped_clock clock;
    inplace_stop_source stop;
    const auto past = std::chrono::steady_clock::now();
    const auto held = sync_wait(door.lock());
    std::vector<wait_status> ends;
    std::thread([&] {
      ends.push_back(door.lock_blocking_until(past).status());
      ends.push_back(sync_wait(door.lock_until(clock, 0)).status());
      ends.push_back(sync_wait(door.lock_until(clock, 0, stop.get_token())).status());
      stop.request_stop();
      ends.push_back(sync_wait(door.lock(stop.get_token())).status());
    }).join();
    using enum wait_status;
    CHECK(ends == std::vector<wait_status>{timed_out, timed_out, timed_out, cancelled});
  }
  {
    std::vector<std::function<void()>> queue;
    const auto later = [&](auto f) { queue.emplace_back(f); };
    const auto visit = [&]() -> support::detached {
      const auto held = co_await door.lock().resume_on(later);
      order.push_back(5);
    };
    auto held = door.try_lock();
    visit();
    held.unlock();
    REQUIRE(queue.size() == 1);
    CHECK(order.size() == 5);
    queue[0]();
    CHECK(order.size() == 6);
  }
  CHECK(sync_wait(door.lock().resume_inline()));
  CHECK(*sync_wait(door.run_exclusive([] { return 7; })) == 7);
  CHECK(*sync_wait(door.run_exclusive([]() -> task<int> { co_return 8; })) == 8);
  const inplace_stop_source never;
  CHECK(*sync_wait(door.run_exclusive([] { return 9; }, never.get_token())) == 9);
  CHECK(door.try_run_exclusive([&] { CHECK(door.held()); }));
  CHECK(*door.try_run_exclusive([] { return 10; }) == 10);
  CHECK(sync_wait(*door.try_run_exclusive([]() -> task<int> { co_return 11; })) == 11);
  CHECK_FALSE(door.held());

  auto bounded = named<TestType>("bounded", max_waiters{1});
  {
    const auto held = bounded.try_lock();
    enter(bounded, order, 6);
    CHECK(sync_wait(bounded.lock()).status() == wait_status::overloaded);
  }
  CHECK(order.back() == 6);
  door.close();
  CHECK(door.closed());
  CHECK(sync_wait(door.lock()).status() == wait_status::closed);
  CHECK(sync_wait(door.run_exclusive([] {})).status() == wait_status::closed);
}

TEST_CASE("threads and coroutines exclude each other") {
  tracked_async_mutex door("door");
  const reports told;
  const std::size_t each = support::rounds(5'000);
  std::size_t inside = 0;  // plain: a race if two are inside
  const auto enter_once = [&]() -> task<> {
    const auto held = co_await door.lock();
    ++inside;
  };
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id % 2 == 0) {
        const auto held = door.lock_blocking();
        ++inside;
      } else {
        sync_wait(enter_once());
      }
    }
  });
  CHECK(inside == 4 * each);
  CHECK(told.empty());
}
