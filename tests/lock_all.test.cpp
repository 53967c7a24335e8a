// SPDX-License-Identifier: BSL-1.0
// lock_all: whole or nothing, order, ends of waits, guards, lifetime and misuse.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/lock_all.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::async_shared_mutex;
using interlock::guard_of_all;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::lock_all;
using interlock::lock_all_blocking;
using interlock::lock_all_blocking_until;
using interlock::lock_all_until;
using interlock::manual_timer;
using interlock::max_waiters;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::try_lock_all;
using interlock::wait_status;
using interlock::when_all;
using support::detached;
using namespace std::chrono_literals;

using guard_of_two = guard_of_all<async_mutex, async_mutex>;
static_assert(sizeof(guard_of_two) <= 4 * sizeof(void*));
static_assert(!std::is_copy_constructible_v<guard_of_two>);
static_assert(std::is_nothrow_move_constructible_v<guard_of_two> &&
              std::is_nothrow_move_assignable_v<guard_of_two>);
static_assert(std::is_same_v<decltype(lock_all_blocking(std::declval<async_mutex&>(),
                                                        std::declval<async_shared_mutex&>())),
                             guard_of_all<async_mutex, async_shared_mutex>>);
static_assert(sizeof(lock_all(std::declval<async_mutex&>(), std::declval<async_mutex&>())) <= 224);

namespace {

using story = std::vector<std::string>;

struct bank {
  async_mutex a;  // in the order of their addresses
  async_mutex b;
  async_shared_mutex c;
  story says;

  bool is_free() { return try_lock_all(a, b, c).owns_lock(); }
  void say(const char* who, wait_status how) {
    says.push_back(std::string(who) + " " + to_string(how));
  }
};

template <class... Args>
detached takes(bank& in, const char* who, Args&... args) {
  const auto held = co_await lock_all(args...);
  in.say(who, held.status());
}
detached takes_until(bank& in, const char* who, manual_timer& timer,
                     manual_timer::time_point deadline, inplace_stop_token stop) {
  const auto held = co_await lock_all_until(timer, deadline, in.c, in.a, stop);
  in.say(who, held.status());
}
template <class Mutex>
detached takes_one(bank& in, const char* who, Mutex& mutex) {
  const auto held = co_await mutex.lock();
  in.say(who, held.status());
}

}  // namespace

TEST_CASE("All who take several mutexes by lock_all get them whatever order they name them in") {
  bank in;
  int inside = 0;
  int entered = 0;
  bool crowd = false;
  const auto visit = [&](auto&... doors) -> task<> {
    const auto held = co_await lock_all(doors...);
    crowd = crowd || ++inside != 1;
    co_await reschedule();
    --inside;
    ++entered;
  };
  std::vector<task<>> requests;
  for (int i = 0; i < 50; ++i) {
    requests.push_back(visit(in.a, in.b));
    requests.push_back(visit(in.b, in.a));
    requests.push_back(visit(in.b, in.c, in.a));
    requests.push_back(visit(in.c, in.b));
  }
  sync_wait(when_all(std::move(requests)));
  CHECK(entered == 200);
  CHECK_FALSE(crowd);
  CHECK(in.is_free());

  const std::size_t rounds = support::rounds(20'000);
  std::size_t money[3] = {};
  support::run_threads(3, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (id == 0) {
        const auto held = lock_all_blocking(in.a, in.b);
        ++money[0], ++money[1];
      } else if (id == 1) {
        const auto held = lock_all_blocking(in.c, in.b, in.a);
        ++money[0], ++money[1], ++money[2];
      } else {
        sync_wait([](bank& from, std::size_t* m) -> task<> {
          const auto held = co_await lock_all(from.c, from.a);
          ++m[0], ++m[2];
        }(in, money));
      }
    }
  });
  CHECK((money[0] == 3 * rounds && money[1] == 2 * rounds && money[2] == 2 * rounds));
}

TEST_CASE("negative control: two who lock by hand in opposite orders are stuck") {
  async_mutex a;
  async_mutex b;
  int through = 0;
  const auto both = [&](async_mutex& first, async_mutex& second) -> support::owned {
    const auto one = co_await first.lock();
    co_await reschedule();
    const auto other = co_await second.lock();
    ++through;
  };
  support::owned forth{};
  support::owned back{};
  interlock::detail::trampoline::together([&] {
    forth = both(a, b);
    back = both(b, a);
  });
  CHECK(through == 0);
  forth.handle.destroy();
  CHECK(through == 1);
  back.handle.destroy();
}

TEST_CASE("A lock of all is had whole or not at all") {
  bank in;
  {
    const auto none = try_lock_all(in.a, in.b);
    CHECK(none);
    CHECK(try_lock_all(in.c, in.b).status() == wait_status::timed_out);
    CHECK_FALSE(in.c.held());
  }
  auto b = in.b.try_lock();
  CHECK(try_lock_all(in.a, in.b).status() == wait_status::timed_out);
  CHECK_FALSE(in.a.held());
  takes(in, "all", in.c, in.b, in.a);
  CHECK(in.says.empty());
  b.unlock();
  CHECK(in.says == story{"all acquired"});
  CHECK(in.is_free());
}

// Holds nothing while it waits, as std::lock: waits for the one that was not to be had, tries the rest.
task<bool> polite(async_mutex& a, async_mutex& b, int rounds, const bool& over) {
  async_mutex* first = &a;
  async_mutex* second = &b;
  for (int i = 0; i < rounds && !over; ++i) {
    const auto one = co_await first->lock();
    const auto other = second->try_lock();
    if (other) co_return true;
    std::swap(first, second);
  }
  co_return false;
}

TEST_CASE("Who waits for several gets each of them in its turn and so all of them") {
  // Both mutexes always have a queue: who tries, and backs off, never finds the other one free.
  async_mutex a;
  async_mutex b;
  bool over = false;
  int turns = 0;
  const auto busy = [&](async_mutex& door) -> task<> {
    while (!over) {
      const auto held = co_await door.lock();
      ++turns;
      co_await reschedule();
    }
  };
  SECTION("we") {
    const auto one = [&]() -> task<> {
      const auto held = co_await lock_all(b, a);
      over = true;
    };
    sync_wait(when_all(busy(a), busy(a), busy(b), busy(b), one()));
    CHECK(turns < 20);
  }
  SECTION("negative control: try and back off") {
    bool got_in = true;
    const auto one = [&]() -> task<> {
      got_in = co_await polite(a, b, 1000, over);
      over = true;
    };
    sync_wait(when_all(busy(a), busy(a), busy(b), busy(b), one()));
    CHECK_FALSE(got_in);
  }
}

TEST_CASE("What is held when a wait is refused is given back") {
  bank in;
  inplace_stop_source stop;
  inplace_stop_token token = stop.get_token();
  manual_timer timer;
  auto c = in.c.try_lock();
  SECTION("a stop") {
    takes(in, "all", in.c, in.b, in.a, token);
    CHECK((in.a.held() && in.b.held()));
    takes_one(in, "a", in.a);
    stop.request_stop();
    CHECK(in.says == story{"a acquired", "all cancelled"});
  }
  SECTION("a deadline") {
    takes_until(in, "all", timer, timer.now() + 1s, stop.get_token());
    takes_one(in, "a", in.a);
    timer.advance_to(timer.now() + 1s);
    CHECK(in.says == story{"a acquired", "all timed out"});
  }
  SECTION("a close") {
    takes(in, "all", in.c, in.a);
    takes(in, "later", in.c, in.a);
    takes_one(in, "a", in.a);
    in.c.close();
    CHECK(in.says == story{"all closed", "a acquired", "later closed"});
    c.unlock();
    CHECK(lock_all_blocking(in.a, in.c).status() == wait_status::closed);
    CHECK(try_lock_all(in.a, in.c).status() == wait_status::closed);
    CHECK_FALSE(in.a.held());
    return;
  }
  SECTION("a thread's deadline") {
    CHECK(lock_all_blocking_until({}, in.c, in.a).status() == wait_status::timed_out);
    CHECK(lock_all_blocking_until({}, in.b, in.a).status() == wait_status::acquired);
  }
  SECTION("as many waiters as it may have") {
    async_mutex full(max_waiters{0});
    const auto held = full.try_lock();
    CHECK(lock_all_blocking(in.a, full).status() == wait_status::overloaded);
  }
  SECTION("a coroutine that is destroyed: at the second one") {
    const auto waits = [](bank& from) -> support::owned {
      const auto held = co_await lock_all(from.a, from.c);
    };
    const support::owned waiting = waits(in);
    CHECK(in.a.held());
    waiting.handle.destroy();
  }
  SECTION("a coroutine that is destroyed: as the owner of all, before it goes on") {
    const auto waits = [](bank& from) -> support::owned {
      const auto held = co_await lock_all(from.a, from.c);
    };
    const support::owned waiting = waits(in);
    interlock::detail::trampoline::together([&] {
      c.unlock();
      waiting.handle.destroy();
    });
    CHECK(in.is_free());
    return;
  }
  SECTION("a coroutine that is destroyed: refused, before it has given back") {
    const auto waits = [](bank& from, inplace_stop_token t) -> support::owned {
      const auto held = co_await lock_all(from.a, from.c, t);
    };
    const support::owned waiting = waits(in, stop.get_token());
    interlock::detail::trampoline::together([&] {
      stop.request_stop();
      waiting.handle.destroy();
    });
  }
  CHECK_FALSE(in.a.held());
  CHECK_FALSE(in.b.held());
  c.unlock();
  CHECK(in.is_free());
}

TEST_CASE("lock_all: tokens and deadlines that were over before") {
  bank in;
  inplace_stop_source stop;
  inplace_stop_source never;
  manual_timer timer;
  stop.request_stop();
  inplace_stop_token token = stop.get_token();
  takes(in, "stopped", in.a, in.b, token);
  takes_until(in, "free", timer, timer.now(), never.get_token());
  const auto a = in.a.try_lock();
  takes_until(in, "taken", timer, timer.now(), never.get_token());
  CHECK(in.says == story{"stopped cancelled", "free acquired", "taken timed out"});
}

TEST_CASE("A chain of a hundred thousand locks of all needs no deep stack") {
  const std::size_t many = support::rounds(100'000);
  std::size_t acquired = 0;
  std::size_t refused = 0;
  const auto take = [&](bank& in) -> detached {
    const auto held = co_await lock_all(in.b, in.a);
    ++(held ? acquired : refused);
  };
  const bool started = support::on_small_stack([&] {
    bank in;
    auto b = in.b.try_lock();
    for (std::size_t i = 0; i < many; ++i) take(in);
    b.unlock();
    b = in.b.try_lock();
    for (std::size_t i = 0; i < many; ++i) take(in);
    in.b.close();  // the first one is told, gives back a, and so on
  });
  REQUIRE(started);
  CHECK(acquired == many);
  CHECK(refused == many);
}

TEST_CASE("Locking all allocates nothing") {
  bank in;
  inplace_stop_source stop;
  manual_timer timer;
  inplace_stop_token token = stop.get_token();
  in.says.reserve(8);
  std::size_t during = 0;
  const auto free = [&]() -> task<> {
    const std::size_t before = support::allocations();
    {
      const auto one = co_await lock_all(in.a, in.b);
      const auto none = try_lock_all(in.b, in.a);
      static_cast<void>(none.status());
    }
    {
      const auto two = co_await lock_all_until(timer, timer.now() + 1s, in.a, in.c, stop.get_token());
      const auto late = lock_all_blocking_until({}, in.b, in.a);
      static_cast<void>(late.status());
      static_cast<void>(two.status());
    }
    during = support::allocations() - before;
  };
  sync_wait(free());
  CHECK(during == 0);
  auto c = in.c.try_lock();
  takes(in, "all", in.c, in.a);
  takes(in, "no", in.c, in.a, token);
  const std::size_t before = support::allocations();
  stop.request_stop();
  c.unlock();
  CHECK(support::allocations() == before);
  CHECK(in.says == story{"no cancelled", "all acquired"});
}

TEST_CASE("lock_all: guards of all move, swap, split, release and adopt") {
  bank in;
  auto first = try_lock_all(in.a, in.b);
  guard_of_two second = std::move(first);
  CHECK_FALSE(first.owns_lock());
  swap(first, second);
  CHECK(first.owns_lock());
  async_mutex x;
  async_mutex y;
  first = try_lock_all(x, y);  // a and b are unlocked
  CHECK(in.is_free());
  first.unlock();
  CHECK(try_lock_all(x, y));
  auto all = lock_all_blocking(in.c, in.a);
  {
    auto [c, a] = all.split();
    CHECK_FALSE(all.owns_lock());
    CHECK((c.owns_lock() && a.owns_lock()));
    a.unlock();
    CHECK_FALSE(in.a.held());
    CHECK(in.c.held());
  }
  CHECK(in.is_free());
  second = try_lock_all(in.b, in.a);
  const auto released = second.release();
  CHECK(in.a.held());
  guard_of_two adopted(std::adopt_lock, *std::get<0>(released), *std::get<1>(released));
  adopted = guard_of_two();
  CHECK(in.is_free());
}

TEST_CASE("lock_all: it resumes where it is told to") {
  bank in;
  std::vector<std::function<void()>> jobs;
  auto c = in.c.try_lock();
  const auto there = [](bank& from, auto post) -> detached {
    const auto held = co_await lock_all(from.c, from.a).resume_on(post);
    from.say("there", held.status());
  };
  there(in, [&jobs](auto job) { jobs.emplace_back(job); });
  c.unlock();
  CHECK(in.says.empty());
  CHECK((in.a.held() && in.c.held()));
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(in.says == story{"there acquired"});
}

TEST_CASE("lock_all: a coroutine that resumes inside the end of its wait may end there") {
  bank in;
  inplace_stop_source stop;
  const auto at_once = [](auto job) { job(); };
  const auto inside = [](bank& from, inplace_stop_token token) -> detached {
    const auto held = co_await lock_all(from.a, from.b, token).resume_inline();
    from.say("inside", held.status());
  };
  const auto posted = [](bank& from, auto post, inplace_stop_token token) -> detached {
    const auto held = co_await lock_all(from.a, from.b, token).resume_on(post);
    from.say("posted", held.status());
  };
  const bool first = GENERATE(true, false);  // which of the two they wait for
  auto taken = (first ? in.a : in.b).try_lock();
  inside(in, stop.get_token());
  SECTION("alone") {
    stop.request_stop();
    CHECK(in.says == story{"inside cancelled"});
  }
  SECTION("on an executor that runs it at once") {
    posted(in, at_once, stop.get_token());
    stop.request_stop();
    CHECK(in.says.size() == 2);
  }
  taken.unlock();
  CHECK(in.is_free());
}

TEST_CASE("lock_all stops at misuse with a sentence") {
  using support::death_message;
  CHECK(death_message([] {
          async_mutex a;
          async_mutex b;
          static_cast<void>(lock_all_blocking(a, b, a));
        }) == "interlock: lock_all: one mutex is named twice; name each of them once\n");
  CHECK(death_message([] { guard_of_two().unlock(); }) ==
        "interlock: guard_of_all::unlock: owns nothing; ask owns_lock() first\n");
  CHECK(death_message([] { static_cast<void>(guard_of_two().split()); }) ==
        "interlock: guard_of_all::split: owns nothing; ask owns_lock() first\n");
  CHECK(death_message([] {
          async_mutex a;
          async_mutex b;
          const auto held = b.try_lock();
          const auto refused = try_lock_all(a, b);
        }).find("nobody asked") != std::string::npos);
}
