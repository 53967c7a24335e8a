// SPDX-License-Identifier: BSL-1.0
// async_condition: notifications, predicates, ends of waits, lifetime and misuse.

#include <interlock/async_condition.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/counting_token.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::async_condition;
using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::manual_timer;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using support::detached;
using namespace std::chrono_literals;

using guard = async_mutex::guard;

static_assert(sizeof(async_condition) == sizeof(void*));
static_assert(!std::is_copy_constructible_v<async_condition>);
static_assert(sizeof(std::declval<async_condition&>().wait(std::declval<guard&>())) <= 160);
static_assert(sizeof(std::declval<async_condition&>().wait(std::declval<guard&>(),
                                                           inplace_stop_token())) <= 240);

namespace {

using story = std::vector<std::string>;

struct queue {
  async_mutex door;
  async_condition filled;
  int letters = 0;
  story says;

  bool is_free() { return door.try_lock().owns_lock(); }
  void put(int more) {
    auto held = door.lock_blocking();
    letters += more;
  }
};

void tell(queue& q, const char* who, const guard& held, wait_status how) {
  q.says.push_back(std::string(who) + " " + to_string(how) + (held ? "" : ", not the owner"));
}

template <class... End>
detached waits(queue& q, const char* who, End... end) {
  auto held = co_await q.door.lock();
  const wait_status how = co_await q.filled.wait(held, end...);
  tell(q, who, held, how);
}
template <class... End>
detached takes(queue& q, const char* who, int letters, End... end) {
  auto held = co_await q.door.lock();
  const wait_status how =
      co_await q.filled.wait(held, [&q, letters] { return q.letters >= letters; }, end...);
  tell(q, who, held, how);
  if (how == wait_status::acquired) q.letters -= letters;
}
detached waits_until(queue& q, const char* who, manual_timer& timer,
                     manual_timer::time_point deadline) {
  auto held = co_await q.door.lock();
  const wait_status how = co_await q.filled.wait_until(timer, deadline, held);
  tell(q, who, held, how);
}
detached takes_until(queue& q, const char* who, int letters, manual_timer& timer,
                     manual_timer::time_point deadline, inplace_stop_token stop) {
  auto held = co_await q.door.lock();
  const auto enough = [&q, letters] { return q.letters >= letters; };
  const wait_status how = co_await q.filled.wait_until(timer, deadline, held, enough, stop);
  tell(q, who, held, how);
}

}  // namespace

TEST_CASE("Whoever waits has left the mutex and misses no notification from then on") {
  queue q;
  waits(q, "a");
  CHECK(q.is_free());
  CHECK(q.says.empty());
  q.filled.notify_one();
  CHECK(q.says == story{"a acquired"});
  q.filled.notify_one();  // nobody waits: nothing is kept for later
  waits(q, "b");
  CHECK(q.says.size() == 1);
  q.filled.notify_all();
  CHECK(q.says.back() == "b acquired");

  // Threads, a million times: whoever changes and notifies is seen.
  const std::size_t rounds = support::rounds(100'000);
  queue ping;
  support::run_threads(2, [&](std::size_t id) {
    const int mine = static_cast<int>(id);
    for (std::size_t i = 0; i < rounds; ++i) {
      auto held = ping.door.lock_blocking();
      ping.filled.wait_blocking(held, [&] { return ping.letters == mine; });
      ping.letters = 1 - mine;
      ping.filled.notify_one();
    }
  });
  CHECK(ping.letters == 0);
}

TEST_CASE("A wait ends as the owner of the mutex however it ended") {
  queue q;
  inplace_stop_source stop;
  manual_timer timer;
  waits(q, "notified");
  waits(q, "stopped", stop.get_token());
  waits_until(q, "late", timer, timer.now() + 1s);
  SECTION("a free mutex") {
    q.filled.notify_one();
    stop.request_stop();
    timer.advance_to(timer.now() + 1s);
    CHECK(q.says == story{"notified acquired", "stopped cancelled", "late timed out"});
  }
  SECTION("a mutex that is held: in the order in which the waits ended") {
    guard held = q.door.try_lock();
    timer.advance_to(timer.now() + 1s);
    stop.request_stop();
    q.filled.notify_one();
    CHECK(q.says.empty());
    CHECK(q.door.waiters_approx() == 3);
    held.unlock();
    CHECK(q.says == story{"late timed out", "stopped cancelled", "notified acquired"});
  }
  SECTION("a mutex that is closed meanwhile: nobody owns it, and the result says so") {
    q.door.close();
    q.filled.notify_all();
    CHECK(q.says == story{"notified closed, not the owner", "stopped closed, not the owner",
                          "late closed, not the owner"});
    CHECK_FALSE(q.door.held());
  }
  if (!q.door.closed()) CHECK(q.is_free());
}

TEST_CASE("A notification goes to one who waits and never to one who gave up") {
  queue q;
  inplace_stop_source stop;
  waits(q, "a", stop.get_token());
  waits(q, "b");
  waits(q, "c");
  guard held = q.door.try_lock();
  SECTION("the stop comes first") {
    stop.request_stop();
    q.filled.notify_one();
    held.unlock();
    CHECK(q.says == story{"a cancelled", "b acquired"});
  }
  SECTION("the notification comes first") {
    q.filled.notify_one();
    stop.request_stop();
    held.unlock();
    CHECK(q.says == story{"a acquired"});
  }
  SECTION("who was notified is destroyed before it goes on: another one is notified") {
    q.filled.notify_all();
    held.unlock();
    q.says.clear();
    const auto waits_on = [](queue& from) -> support::owned {
      auto owner = co_await from.door.lock();
      co_await from.filled.wait(owner);
      from.says.push_back("went on");
    };
    const support::owned gone = waits_on(q);
    waits(q, "d");
    guard again = q.door.try_lock();
    SECTION("while it waits for the mutex") {
      q.filled.notify_one();
      gone.handle.destroy();
      again.unlock();
    }
    SECTION("when it owns the mutex") {
      interlock::detail::trampoline::together([&] {
        q.filled.notify_one();
        again.unlock();
        gone.handle.destroy();
      });
    }
    CHECK(q.says == story{"d acquired"});
    CHECK(q.is_free());
  }
  q.filled.notify_all();
}

TEST_CASE("A wait with a predicate ends when it holds and never before") {
  queue q;
  SECTION("notified for nothing, then for something") {
    takes(q, "two", 2);
    takes(q, "one", 1);
    q.filled.notify_all();
    CHECK(q.says.empty());
    CHECK(q.is_free());
    q.put(1);
    q.filled.notify_all();
    CHECK(q.says == story{"one acquired"});
    q.put(2);
    q.filled.notify_one();
    CHECK(q.says == story{"one acquired", "two acquired"});
  }
  SECTION("it holds at once: no wait, with and without ends") {
    inplace_stop_source stop;
    q.put(2);
    takes(q, "a", 1);
    takes(q, "b", 1, stop.get_token());
    CHECK(q.says == story{"a acquired", "b acquired"});
  }
  SECTION("stopped after it was notified for nothing") {
    inplace_stop_source stop;
    takes(q, "a", 1, stop.get_token());
    q.filled.notify_one();
    stop.request_stop();
    CHECK(q.says == story{"a cancelled"});
  }
  SECTION("stopped while it queues at the mutex, notified for nothing") {
    inplace_stop_source stop;
    takes(q, "a", 1, stop.get_token());
    guard held = q.door.try_lock();
    q.filled.notify_one();
    stop.request_stop();
    held.unlock();
    CHECK(q.says == story{"a cancelled"});
  }
  SECTION("stopped, but it holds by then") {
    inplace_stop_source stop;
    takes(q, "a", 1, stop.get_token());
    guard held = q.door.try_lock();
    stop.request_stop();
    q.letters = 1;
    held.unlock();
    CHECK(q.says == story{"a acquired"});
  }
  SECTION("stopped before: nothing is looked at") {
    inplace_stop_source stop;
    stop.request_stop();
    q.put(1);
    takes(q, "a", 1, stop.get_token());
    waits(q, "b", stop.get_token());
    CHECK(q.says == story{"a cancelled", "b cancelled"});
  }
  SECTION("deadlines: passed, and passing") {
    manual_timer timer;
    inplace_stop_source stop;
    takes_until(q, "past", 1, timer, timer.now(), stop.get_token());
    CHECK(q.says == story{"past timed out"});
    takes_until(q, "later", 1, timer, timer.now() + 1s, stop.get_token());
    timer.advance_to(timer.now() + 999ms);
    CHECK(q.says.size() == 1);
    timer.advance_to(timer.now() + 1ms);
    CHECK(q.says.back() == "later timed out");
    q.put(1);
    takes_until(q, "past", 1, timer, timer.now(), stop.get_token());
    CHECK(q.says.back() == "past acquired");
  }
  CHECK(q.is_free());
}

TEST_CASE("A coroutine is resumed once it owns the mutex and not before") {
  queue q;
  for (const char* const who : {"a", "b", "c"}) waits(q, who);
  guard held = q.door.try_lock();
  q.filled.notify_all();
  CHECK(q.says.empty());
  CHECK(q.door.waiters_approx() == 3);
  held.unlock();
  CHECK(q.says == story{"a acquired", "b acquired", "c acquired"});

  // A predicate may keep a state of its own.
  const auto third = [](queue& from) -> detached {
    auto owner = co_await from.door.lock();
    co_await from.filled.wait(owner, [looked = 0]() mutable { return ++looked == 3; });
    from.says.push_back("third");
  };
  third(q);
  q.filled.notify_one();
  CHECK(q.says.size() == 3);
  q.filled.notify_one();
  CHECK(q.says.back() == "third");
  q.says.pop_back();

  // A thousand notifications of one whose predicate does not hold: none resumes it.
  int looks = 0;
  const auto patient = [](queue& from, int& count) -> detached {
    auto owner = co_await from.door.lock();
    co_await from.filled.wait(owner, [&from, &count] {
      ++count;
      return from.letters != 0;
    });
    from.says.push_back("patient");
  };
  patient(q, looks);
  for (int i = 0; i < 1000; ++i) q.filled.notify_one();
  CHECK(looks == 1001);
  CHECK(q.says.size() == 3);
  q.put(1);
  q.filled.notify_one();
  CHECK(q.says.back() == "patient");
}

TEST_CASE("Waiting and notifying allocate nothing") {
  queue q;
  inplace_stop_source stop;
  manual_timer timer;
  q.says.reserve(16);
  waits(q, "a", stop.get_token());
  takes(q, "b", 1);
  waits_until(q, "c", timer, timer.now() + 1s);
  std::size_t calls = 0;
  const auto both = [&]() -> task<> {
    const std::size_t start = support::allocations();
    auto held = co_await q.door.lock();
    const auto there = [&q] { return q.letters == 0; };
    const wait_status how = co_await q.filled.wait(held, there, stop.get_token());
    calls = support::allocations() - start;
    CHECK(how == wait_status::acquired);
  };
  sync_wait(both());
  CHECK(calls == 0);
  const std::size_t before = support::allocations();
  guard held = q.door.try_lock();
  CHECK(q.filled.wait_blocking_until({}, held) == wait_status::timed_out);
  held.unlock();
  q.put(1);
  const std::size_t between = support::allocations();
  CHECK(between == before);
  q.filled.notify_all();
  timer.advance_to(timer.now() + 1s);
  CHECK(q.says.size() == 3);
}

TEST_CASE("async_condition: a hundred thousand that are notified at once need no stack") {
  const std::size_t many = support::rounds(100'000);
  std::size_t looks = 0;
  std::size_t done = 0;
  const bool started = support::on_small_stack([&] {
    queue q;
    const auto wait = [](queue& from, std::size_t& looked, std::size_t& ended) -> detached {
      auto held = co_await from.door.lock();
      co_await from.filled.wait(held, [&from, &looked] {
        ++looked;
        return from.letters != 0;
      });
      ++ended;
    };
    for (std::size_t i = 0; i < many; ++i) wait(q, looks, done);
    q.filled.notify_all();  // for nothing: each looks, and waits again
    q.letters = 1;
    q.filled.notify_all();
  });
  REQUIRE(started);
  CHECK(looks == 3 * many);
  CHECK(done == many);
}

TEST_CASE("async_condition: threads wait with a deadline, and are told what became of it") {
  queue q;
  guard held = q.door.try_lock();
  const auto enough = [&q] { return q.letters != 0; };
  CHECK(q.filled.wait_blocking_until({}, held, enough) == wait_status::timed_out);
  CHECK(held.owns_lock());
  q.letters = 1;
  CHECK(q.filled.wait_blocking_until({}, held, enough) == wait_status::acquired);
  CHECK(q.filled.wait_blocking(held, enough) == wait_status::acquired);
  q.door.close();
  const auto soon = std::chrono::steady_clock::now() + 1ms;
  CHECK(q.filled.wait_blocking_until(soon, held) == wait_status::closed);
  CHECK(held.status() == wait_status::closed);
}

TEST_CASE("async_condition: it resumes where it is told to") {
  queue q;
  const auto waits_there = [](queue& from, auto post) -> detached {
    auto held = co_await from.door.lock();
    co_await from.filled.wait(held).resume_on(post);
    from.says.push_back("there");
  };
  std::vector<std::function<void()>> jobs;
  waits_there(q, [&jobs](auto job) { jobs.emplace_back(job); });
  q.filled.notify_one();
  CHECK(q.says.empty());
  CHECK(q.door.held());
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(q.says == story{"there"});
}

TEST_CASE("async_condition: who unlocks the mutex does not wait for a stop that comes too late") {
  queue q;
  int registered = 0;
  const auto waits_there = [](queue& from, int* count, auto post) -> detached {
    auto held = co_await from.door.lock();
    const auto how =
        co_await from.filled.wait(held, support::counting_token{count}).resume_on(post);
    from.says.emplace_back(to_string(how));
  };
  std::vector<std::function<void()>> jobs;
  waits_there(q, &registered, [&jobs](auto job) { jobs.emplace_back(job); });
  auto owner = q.door.lock_blocking();
  q.filled.notify_one();
  owner.unlock();
  REQUIRE(jobs.size() == 1);
  CHECK(registered == 1);  // to unregister may wait for another thread
  jobs[0]();
  CHECK(registered == 0);
  CHECK(q.says == story{"acquired"});
}

TEST_CASE("async_condition stops at misuse with a sentence") {
  using support::death_message;
  CHECK(death_message([] {
          async_condition condition;
          guard none;
          (void)condition.wait_blocking_until({}, none);
        }) ==
        "interlock: async_condition::wait: the guard owns no mutex; lock it first\n");
  CHECK(death_message([] {
          queue q;
          const auto wait = [](queue& from) -> detached {
            guard none;
            co_await from.filled.wait(none);
          };
          wait(q);
        }) ==
        "interlock: async_condition::wait: the guard owns no mutex; lock it first\n");
  CHECK(death_message([] {
          auto q = std::make_unique<queue>();
          waits(*q, "a");
          q.reset();
        }) == "interlock: ~async_condition: somebody waits for it; notify_all(), and let every wait "
                "end\n");
}
