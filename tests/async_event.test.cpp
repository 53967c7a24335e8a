// SPDX-License-Identifier: BSL-1.0
// Events with manual and automatic reset: who is let in, every way in which a wait ends, lifetime.

#include <interlock/async_event.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
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

using namespace std::chrono_literals;
using interlock::async_auto_reset_event;
using interlock::async_manual_reset_event;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::manual_timer;
using interlock::max_waiters;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_all;
using support::detached;

using bell = async_auto_reset_event;
using gate = async_manual_reset_event;

static_assert(sizeof(bell) == 24 && sizeof(gate) == 24);
static_assert(sizeof(std::declval<bell&>().wait()) <= 48);
static_assert(sizeof(std::declval<gate&>().wait(inplace_stop_token{})) <= 128);
static_assert(alignof(decltype(std::declval<bell&>().wait())) <= 16);
static_assert(!std::is_copy_constructible_v<bell> && !std::is_move_constructible_v<gate>);

namespace {

using record = std::vector<std::string>;

template <class Event>
detached logs(Event& event, record& log, std::string name) {
  const wait_status how = co_await event.wait();
  log.push_back(name + " " + to_string(how));
}
template <class Event>
detached logs_unless(Event& event, inplace_stop_token stop, record& log, std::string name) {
  const wait_status how = co_await event.wait(stop);
  log.push_back(name + " " + to_string(how));
}
template <class Event>
detached logs_until(Event& event, manual_timer& timer, manual_timer::time_point deadline,
                    record& log, std::string name) {
  const wait_status how = co_await event.wait_until(timer, deadline);
  log.push_back(name + " " + to_string(how));
}
template <class Event>
support::owned stays(Event& event, int& went_on) {
  const wait_status how = co_await event.wait();
  went_on += how == wait_status::acquired ? 1 : 100;
}

template <class Event>
void every_end_at_once() {
  manual_timer timer;
  timer.advance_to(timer.now() + 1s);
  inplace_stop_source stop;
  stop.request_stop();
  Event event(max_waiters{1});
  record log;
  event.set();
  logs_unless(event, stop.get_token(), log, "a");
  CHECK(log == record{"a cancelled"});
  CHECK(event.is_set());
  logs_until(event, timer, timer.now() - 1s, log, "b");
  CHECK(log.back() == "b acquired");
  event.reset();
  logs_until(event, timer, timer.now() - 1s, log, "c");
  CHECK(log.back() == "c timed out");
  constexpr auto past = std::chrono::steady_clock::time_point::min();
  CHECK(event.wait_blocking_until(past) == wait_status::timed_out);
  event.set();
  CHECK(event.wait_blocking_until(past) == wait_status::acquired);
  event.reset();
  logs(event, log, "d");
  logs(event, log, "e");
  CHECK(log.back() == "e overloaded");
  CHECK(event.wait_blocking() == wait_status::overloaded);
  CHECK(event.waiters_approx() == 1);
  event.set();
  CHECK(log.back() == "d acquired");
}

template <class Event>
void close_tells_all() {
  manual_timer timer;
  inplace_stop_source stop;
  Event event;
  record log;
  logs(event, log, "a");
  logs_unless(event, stop.get_token(), log, "b");
  logs_until(event, timer, timer.now() + 1s, log, "c");
  wait_status told{};
  std::thread blocked([&] { told = event.wait_blocking(); });
  while (event.waiters_approx() != 4) std::this_thread::yield();
  event.close();
  event.close();
  blocked.join();
  CHECK(told == wait_status::closed);
  CHECK(log == record{"a closed", "b closed", "c closed"});
  event.set();
  CHECK((event.is_set() && event.closed()));
  logs(event, log, "d");
  CHECK(log.back() == "d closed");
  CHECK_FALSE(event.try_wait());
  CHECK(event.reset());
  CHECK_FALSE(event.is_set());
}

template <class Event>
void destroyed_when_let_in() {
  auto event = std::make_unique<Event>();
  const auto destroys = [](std::unique_ptr<Event>& mine) -> detached {
    const wait_status how = co_await mine->wait();
    if (how == wait_status::acquired) mine.reset();
  };
  destroys(event);
  event->set();
  CHECK(event == nullptr);

  const std::size_t rounds = support::rounds(5'000);
  std::vector<std::unique_ptr<Event>> events;
  for (std::size_t i = 0; i < rounds; ++i) events.push_back(std::make_unique<Event>());
  std::atomic<std::size_t> told{0};
  support::run_threads(2, [&](std::size_t id) {
    for (auto& each : events) {
      if (id == 0) {
        each->set();
      } else {
        if (each->wait_blocking() != wait_status::acquired) told.fetch_add(1);
        each.reset();
      }
    }
  });
  CHECK(told == 0);
}

template <class Event>
void publishes() {
  const std::size_t rounds = support::rounds(20'000);
  Event there;
  async_auto_reset_event back;
  std::size_t plain = 0;  // a data race unless the events order it
  std::size_t wrong = 0;
  support::run_threads(2, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (id == 0) {
        plain = i + 1;
        there.set();
        if (back.wait_blocking() != wait_status::acquired) ++wrong;
      } else {
        const wait_status how = i % 2 == 0 ? there.wait_blocking() : sync_wait(there.wait());
        there.reset();
        if (how != wait_status::acquired || plain != i + 1) ++wrong;
        back.set();
      }
    }
  });
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("A manual-reset event that is set lets everybody in until it is reset") {
  gate event;
  record log;
  logs(event, log, "a");
  logs(event, log, "b");
  CHECK_FALSE(event.is_set());
  CHECK_FALSE(event.try_wait());
  event.set();
  CHECK(log == record{"a acquired", "b acquired"});
  logs(event, log, "c");
  CHECK(log.back() == "c acquired");
  CHECK((event.is_set() && event.try_wait() && event.is_set()));
  CHECK(event.wait_blocking() == wait_status::acquired);
  CHECK(event.reset());
  CHECK_FALSE(event.reset());
  logs(event, log, "d");
  CHECK(log.size() == 3);
  CHECK(event.waiters_approx() == 1);
  event.set();
  CHECK(log.back() == "d acquired");
}

TEST_CASE("A set of an auto-reset event lets exactly one in and is kept if nobody waits") {
  bell event;
  record log;
  logs(event, log, "a");
  logs(event, log, "b");
  event.set();
  CHECK(log == record{"a acquired"});
  CHECK_FALSE(event.is_set());
  event.set();
  CHECK(log.back() == "b acquired");
  event.set();
  event.set();  // one, with the one before
  CHECK(event.is_set());
  logs(event, log, "c");
  CHECK(log.back() == "c acquired");
  CHECK_FALSE(event.try_wait());
  event.set();
  CHECK((event.try_wait() && !event.is_set()));
  event.set();
  CHECK((event.reset() && !event.reset()));

  // Every set that is taken lets one in, and no one without: threads and coroutines at once.
  const std::size_t each = support::rounds(20'000);
  bell ping;
  bell pong;
  std::atomic<std::size_t> in{0};
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id < 2) {
        const wait_status how = id == 0 ? ping.wait_blocking() : sync_wait(ping.wait());
        if (how == wait_status::acquired) in.fetch_add(1);
        pong.set();
      } else if (id == 2) {
        for (int twice = 0; twice < 2; ++twice) {
          ping.set();
          if (pong.wait_blocking() != wait_status::acquired) in.fetch_add(1000);
        }
      }
    }
  });
  CHECK(in == 2 * each);
}

TEST_CASE("A wait that is cancelled or too late takes no set along") {
  manual_timer timer;
  inplace_stop_source stop;
  bell event;
  record log;
  logs_unless(event, stop.get_token(), log, "a");
  logs_until(event, timer, timer.now() + 1s, log, "b");
  logs(event, log, "c");
  stop.request_stop();
  CHECK(log == record{"a cancelled"});
  timer.advance_to(timer.now() + 1s);
  CHECK(log == record{"a cancelled", "b timed out"});
  event.set();
  CHECK(log == record{"a cancelled", "b timed out", "c acquired"});
  CHECK(event.wait_blocking_until(std::chrono::steady_clock::now() + 5ms) ==
        wait_status::timed_out);
  event.set();
  CHECK(event.try_wait());
}

TEST_CASE("What was done before a set is visible to whoever is let in afterwards") {
  publishes<gate>();
  publishes<bell>();
}

TEST_CASE("The last one that a set lets in may destroy the event at once") {
  destroyed_when_let_in<gate>();
  destroyed_when_let_in<bell>();

  auto event = std::make_unique<gate>();  // one set lets three in
  manual_timer timer;
  inplace_stop_source stop;
  int waiting = 3;
  const auto last_destroys = [](std::unique_ptr<gate>& mine, manual_timer& clock,
                                inplace_stop_source& end, int& left) -> detached {
    const wait_status how = co_await mine->wait_until(clock, clock.now() + 1s, end.get_token());
    end.request_stop();  // too late for those that were let in
    clock.advance_to(clock.now() + 2s);
    if (how == wait_status::acquired && --left == 0) mine.reset();
  };
  for (int i = 0; i < 3; ++i) last_destroys(event, timer, stop, waiting);
  event->set();
  CHECK(event == nullptr);
}

TEST_CASE("Waiting for an event and setting it allocate nothing") {
  gate open;
  bell ring;
  manual_timer timer;
  inplace_stop_source stop;
  std::size_t count = 0;
  const auto wait = [](gate& all, bell& one, manual_timer& clock, inplace_stop_token token,
                       std::size_t& to) -> task<> {
    const wait_status first = co_await all.wait();
    const wait_status second = co_await one.wait(token);
    one.set();
    const wait_status third = co_await all.wait_until(clock, clock.now() + 1h, token);
    if (first == second && second == third) ++to;
  };
  const auto open_both = [](gate& all, bell& one) -> task<> {
    co_await reschedule();
    all.set();
    one.set();
  };
  std::vector<task<>> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(wait(open, ring, timer, stop.get_token(), count));
  tasks.push_back(open_both(open, ring));
  auto all = when_all(std::move(tasks));
  const std::size_t before = support::allocations();
  CHECK((before != 0 || !support::counts_allocations));
  sync_wait(std::move(all));
  CHECK(open.wait_blocking() == wait_status::acquired);
  ring.reset();
  CHECK(ring.wait_blocking_until(std::chrono::steady_clock::now()) == wait_status::timed_out);
  CHECK(support::allocations() == before);
  CHECK(count == 50);
}

TEST_CASE("a wait for an event ends at once where it can") {
  every_end_at_once<gate>();
  every_end_at_once<bell>();
}

TEST_CASE("close tells all who wait for an event and all who come") {
  close_tells_all<gate>();
  close_tells_all<bell>();
}

TEST_CASE("a suspended coroutine that is destroyed passes on the set that it was given") {
  bell event;
  record log;
  int went_on = 0;
  const auto first = stays(event, went_on);
  const auto second = stays(event, went_on);
  logs(event, log, "next");
  first.handle.destroy();
  interlock::detail::trampoline::together([&] {
    event.set();
    second.handle.destroy();
  });
  CHECK(log == record{"next acquired"});
  CHECK(went_on == 0);
  CHECK_FALSE(event.is_set());
}

TEST_CASE("a coroutine that was let in may be destroyed after its manual-reset event") {
  auto event = std::make_unique<gate>();
  int went_on = 0;
  const auto waits = stays(*event, went_on);
  interlock::detail::trampoline::together([&] {
    event->set();
    event.reset();
    waits.handle.destroy();
  });
  CHECK(went_on == 0);
}

TEST_CASE("a coroutine that waits for an event resumes where it says") {
  gate event;
  std::vector<std::function<void()>> jobs;
  record log;
  const auto on = [](gate& at, std::vector<std::function<void()>>& to, record& into) -> detached {
    const wait_status how = co_await at.wait().resume_on([&to](auto job) { to.push_back(job); });
    into.push_back(std::string("executor ") + to_string(how));
  };
  on(event, jobs, log);
  event.set();
  CHECK(log.empty());
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(log == record{"executor acquired"});
}

TEST_CASE("one set lets a million coroutines in without a deep stack") {
  const std::size_t length = support::rounds(1'000'000);
  std::size_t wave = 0;
  std::size_t chain = 0;
  const auto count = [](gate& event, std::size_t& to) -> detached {
    const wait_status how = co_await event.wait();
    to += how == wait_status::acquired ? 1U : 0U;
  };
  const auto count_and_set = [](bell& event, std::size_t& to) -> detached {
    const wait_status how = co_await event.wait();
    to += how == wait_status::acquired ? 1U : 0U;
    event.set();
  };
  REQUIRE(support::on_small_stack([&] {
    gate all;
    for (std::size_t i = 0; i < length; ++i) count(all, wave);
    all.set();
    bell one;
    for (std::size_t i = 0; i < length; ++i) count_and_set(one, chain);
    one.set();
  }));
  CHECK(wave == length);
  CHECK(chain == length);
}

TEST_CASE("an event that is destroyed while somebody waits ends the process with a sentence") {
  const std::string text = support::death_message([] {
    bell event;
    record log;
    logs(event, log, "a");
  });
  CHECK(text.find("~async_event: somebody waits") != std::string::npos);
}
