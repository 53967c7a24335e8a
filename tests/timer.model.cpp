// SPDX-License-Identifier: BSL-1.0
// Timers in every execution: an alarm is called once or gone, no arming is slept through.

#include "testing/front.hpp"

#include <interlock/detail/alarm_loop.hpp>
#include <interlock/detail/alarms.hpp>
#include <interlock/manual_timer.hpp>

#include <chrono>

#include "support/detached.hpp"
#include "support/permits.hpp"

namespace detail = interlock::detail;

using interlock::manual_timer;
using interlock::wait_status;
using testing::world;
using namespace std::chrono_literals;

namespace {

// What timer_thread is, for a thread of the explorer's.
struct explored_timer : detail::alarm_loop {
  template <class F>
  using alarm = detail::alarm_of<detail::alarm_loop, F>;
};

std::chrono::steady_clock::time_point soon(int ticks) {
  return std::chrono::steady_clock::now() + ticks * 1ms;
}

// Counts in plain memory that its owner takes back behind it: a race if the call is not over.
struct rings {
  int* calls;
  void operator()() const noexcept { ++*calls; }
};

// Says that it was called.
struct tells {
  interlock::detail::thread_waiter* who;
  void operator()() const noexcept { who->wake(); }
};

void armed_and_called(world& w) {
  explored_timer timer;
  w.thread([&] { timer.run(); });
  w.thread([&] {
    {
      detail::thread_waiter called;
      const auto then = soon(2);
      const explored_timer::alarm<tells> bell(timer, then, tells{&called});
      called.wait();
      testing::check(std::chrono::steady_clock::now() >= then, "not before its deadline");
    }
    timer.stop("armed");
  });
  w.finally([] {});
}

// The thread sleeps for the later one when the earlier one is armed.
void earlier_one_comes(world& w) {
  explored_timer timer;
  const explored_timer::alarm<void (*)()>* kept = nullptr;
  w.thread([&] { timer.run(); });
  w.thread([&] {
    const auto never = std::chrono::steady_clock::time_point::max();
    kept = new explored_timer::alarm<void (*)()>(timer, never, [] {});
    {
      detail::thread_waiter called;
      const explored_timer::alarm<tells> bell(timer, soon(2), tells{&called});
      called.wait();
    }
    delete kept;
    timer.stop("armed");
  });
  w.finally([] {});
}

// Called or destroyed.
void comes_and_goes(world& w) {
  explored_timer timer;
  int called = 0;
  w.thread([&] { timer.run(); });
  w.thread([&] {
    auto* const calls = new int(0);
    { const explored_timer::alarm<rings> bell(timer, soon(1), rings{calls}); }
    called = *calls;
    testing::check(called <= 1, "once");
    delete calls;
    timer.stop("armed");
  });
  w.finally([&] { w.outcome(called); });
}

// An alarm that is destroyed by its own call, while others come and go.
void destroys_itself(world& w) {
  manual_timer timer;
  struct once {
    struct destroys {
      once* self;
      void operator()() const noexcept {
        ++*self->calls;
        delete self;
      }
    };
    once(manual_timer& from, int& count)
        : calls(&count), bell(from, manual_timer::time_point(1ms), destroys{this}) {}
    int* calls;
    manual_timer::alarm<destroys> bell;
  };
  int calls = 0;
  new once(timer, calls);
  w.thread([&] { timer.advance_to(manual_timer::time_point(2ms)); });
  w.thread([&] {
    int others = 0;
    {
      const manual_timer::alarm other(timer, manual_timer::time_point(1ms), rings{&others});
    }
    testing::check(others <= 1, "once");
  });
  w.finally([&] { testing::check(calls == 1, "called once"); });
}

// A deadline against a grant: one of them ends the wait, and no permit is lost.
void granted_or_timed_out(world& w) {
  manual_timer timer;
  support::permits from;
  wait_status how = wait_status::closed;
  w.thread([&] {
    const auto wait = [](support::permits& p, manual_timer& t, wait_status& s) -> support::detached {
      const wait_status status = co_await p.take_until(t, manual_timer::time_point(1ms));
      s = status;
    };
    wait(from, timer, how);
  });
  w.thread([&] { timer.advance_to(manual_timer::time_point(2ms)); });
  w.thread([&] { from.give(); });
  w.finally([&] {
    testing::check(how == wait_status::acquired || how == wait_status::timed_out, "one of them");
    testing::check(from.free() == (how == wait_status::acquired ? 0 : 1), "no permit is lost");
    w.outcome(how == wait_status::acquired);
  });
}

// ---- what it must not be ------------------------------------------------------------------------

// Looks at the bell after it has looked at the alarms: one that was armed between is slept through.
void looks_too_late(world& w) {
  struct {
    atomic<int> alarm{0};
    detail::park_word bell{0};
  } loop;
  w.thread([&] {
    while (loop.alarm.load(acq) == 0) {
      const std::uint32_t seen = loop.bell.load(acq);
      detail::park(loop.bell, seen);
    }
  });
  w.thread([&] {
    loop.alarm.store(1, rel);
    loop.bell.fetch_add(1, rel);
    detail::unpark_one(&loop.bell);
  });
  w.finally([] {});
}

}  // namespace

TEST_CASE("timers: an alarm is called and not before its deadline") { proved(armed_and_called, whole_waits()); }

TEST_CASE("timers: who sleeps for a later alarm is woken for an earlier one") {
  proved(earlier_one_comes, whole_waits());
}

TEST_CASE("timers: an alarm is called once or gone") {
  CHECK(joined(seen(proved(comes_and_goes, whole_waits()))) == "0, 1");
}

TEST_CASE("timers: an alarm may be destroyed by its own call") {
  proved(destroys_itself, whole_waits());
}

TEST_CASE("timers: a deadline or a grant ends the wait") {
  CHECK(joined(seen(proved(granted_or_timed_out, whole_waits()))) == "0, 1");
}

TEST_CASE("timers: a loop that looks at its bell too late is found") {
  const auto report = failing(looks_too_late);
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("timers: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({armed_and_called, earlier_one_comes, comes_and_goes, granted_or_timed_out}, how);
}
