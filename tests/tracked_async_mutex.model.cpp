// SPDX-License-Identifier: BSL-1.0
// tracked_async_mutex in every execution: a circle is told before anybody is stuck, and nothing
// else is told.

#include "testing/front.hpp"

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/lock_report.hpp>
#include <interlock/task.hpp>
#include <interlock/tracked_async_mutex.hpp>

#include <new>
#include <set>
#include <utility>

#include "testing/last_user.hpp"

using interlock::async_mutex;
using interlock::lock_report;
using interlock::lock_report_handler;
using interlock::on_lock_report;
using interlock::sync_wait;
using interlock::task;
using interlock::tracked_async_mutex;
using testing::world;

namespace {

// The graph is the process's, and what it points to goes with an execution: each begins with a new
// one, and so does what comes after the last.
struct fresh_graph {
  fresh_graph() {
    new (&interlock::detail::lock_graph::instance()) interlock::detail::lock_graph();
  }
};

// Sets a handler around a whole exploration.
struct handled {
  explicit handled(lock_report_handler handler) { on_lock_report(handler); }
  handled(const handled&) = delete;
  handled& operator=(const handled&) = delete;
  ~handled() {
    on_lock_report(nullptr);
    const fresh_graph after;
  }
  fresh_graph before;
};

struct deadlock {};
void throws_if_certain(const lock_report& report) {
  if (report.certain) throw deadlock();
}
void must_not_be_called(const lock_report&) {
  testing::check(false, "nothing is to be told");
}

// Two locks are taken in opposite orders.
template <class Mutex>
void opposite(world& w) {
  const fresh_graph begin;
  Mutex a, b;
  int stuck[2] = {0, 0};
  const auto both = [](Mutex& first, Mutex& second, int& mine) {
    const auto one = first.lock_blocking();
    try {
      const auto other = second.lock_blocking();
    } catch (const deadlock&) {
      mine = 1;
    }
  };
  w.thread([&] { both(a, b, stuck[0]); });
  w.thread([&] { both(b, a, stuck[1]); });
  w.finally([&] { w.outcome(stuck[0], stuck[1]); });
}

// The same of a coroutine and a thread.
void opposite_kinds(world& w) {
  const fresh_graph begin;
  tracked_async_mutex a, b;
  int stuck[2] = {0, 0};
  const auto both = [&]() -> task<> {
    const auto one = co_await a.lock();
    const auto other = co_await b.lock();
  };
  w.thread([&] {
    try {
      sync_wait(both());
    } catch (const deadlock&) {
      stuck[0] = 1;
    }
  });
  w.thread([&] {
    const auto one = b.lock_blocking();
    try {
      const auto other = a.lock_blocking();
    } catch (const deadlock&) {
      stuck[1] = 1;
    }
  });
  w.finally([&] { w.outcome(stuck[0], stuck[1]); });
}

struct guarded {
  tracked_async_mutex door;
  int inside = 0;  // plain: a race if two are inside
};

// Whoever is done last destroys it.
void last_destroys(world& w, int users) {
  const fresh_graph begin;
  auto* const shared = used_by<guarded>::make(users);
  for (int i = 0; i < users; ++i) {
    w.thread([shared] {
      {
        const auto held = (*shared)->door.lock_blocking();
        ++(*shared)->inside;
      }
      shared->leave();
    });
  }
  w.finally([] {});
}

// The last owner destroys it right behind its unlock; the one before may still be in its own.
void last_owner_destroys(world& w) {
  const fresh_graph begin;
  auto* const g = new guarded;
  for (int i = 0; i < 2; ++i) {
    w.thread([g] {
      auto held = g->door.lock_blocking();
      const bool last = ++g->inside == 2;
      held.unlock();
      if (last) delete g;
    });
  }
  w.finally([] {});
}

// A coroutine waits until it is told to stop, or gets it.
void stops(world& w) {
  const fresh_graph begin;
  auto* const g = new guarded;
  interlock::inplace_stop_source stop;
  const auto section = [&, g]() -> task<> {
    const auto held = co_await g->door.lock(stop.get_token());
    if (held) ++g->inside;
  };
  auto held = g->door.try_lock();
  w.thread([&, g] {
    ++g->inside;
    held.unlock();
  });
  w.thread([&] { sync_wait(section()); });
  w.thread([&] { stop.request_stop(); });
  w.finally([&, g] {
    w.outcome(g->inside);
    delete g;
  });
}

// A guard goes to another thread while its first one asks for the lock again.
void guard_moves(world& w) {
  const fresh_graph begin;
  auto* const g = new guarded;
  tracked_async_mutex::guard box;
  atomic<int> full{0};
  w.thread([&, g] {
    auto held = g->door.lock_blocking();
    ++g->inside;
    box = std::move(held);
    full.store(1, rel);
    const auto again = g->door.lock_blocking();
    ++g->inside;
  });
  w.thread([&] {
    while (full.load(acq) == 0) testing::spin_hint();
    const tracked_async_mutex::guard mine = std::move(box);
  });
  w.finally([&, g] {
    testing::check(g->inside == 2, "it came through");
    delete g;
  });
}

// A handler reads what its setter wrote; who is given it back reads it too.
int needed = 0;
int got = 0;
int of_first = 0;
void first(const lock_report&) {
  ++of_first;
}
void reads_what_it_needs(const lock_report&) {
  got += needed;
}
void last(const lock_report&) {}
void handlers(world& w) {
  interlock::detail::report_handler.store(&first, rlx);
  needed = got = of_first = 0;
  lock_report_handler before[2] = {};
  w.thread([&] {
    needed = 1;
    before[0] = on_lock_report(&reads_what_it_needs);
  });
  w.thread([&] {
    interlock::detail::tell({lock_report::kind::order, false, {}});
    before[1] = on_lock_report(&last);
    before[1]({lock_report::kind::order, false, {}});
  });
  w.finally([&] {
    std::set<lock_report_handler> all{before[0], before[1], on_lock_report(nullptr)};
    testing::check(all == std::set<lock_report_handler>{&first, &reads_what_it_needs, &last},
                   "each is given back once");
    w.outcome(got);
  });
}

// Whoever knows that a handler was set tells that one, though it set another before.
void tells_the_last(world& w) {
  interlock::detail::report_handler.store(nullptr, rlx);
  of_first = 0;
  atomic<int> turn{0};
  w.thread([&] {
    while (turn.load(acq) == 0) testing::spin_hint();
    on_lock_report(&last);
    turn.store(2, rel);
  });
  w.thread([&] {
    on_lock_report(&first);
    turn.store(1, rel);
    while (turn.load(acq) == 1) testing::spin_hint();
    interlock::detail::tell({lock_report::kind::order, false, {}});
  });
  w.finally([] {
    testing::check(of_first == 0, "the one that was replaced is not told");
    on_lock_report(nullptr);
  });
}

}  // namespace

TEST_CASE("tracked_async_mutex: a circle is told before anybody is stuck") {
  const handled by(throws_if_certain);
  for (const auto body : {&opposite<tracked_async_mutex>, &opposite_kinds}) {
    const auto report = proved(body, whole_waits());
    CHECK(joined(seen(report)) == "0 0, 0 1, 1 0");
  }
}

TEST_CASE("tracked_async_mutex: without it they are stuck") {
  const auto report = failing(opposite<async_mutex>, whole_waits());
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("tracked_async_mutex: sections of one mutex tell nothing and the last user destroys it") {
  const handled by(must_not_be_called);
  proved([](world& w) { last_destroys(w, 2); }, whole_waits());
  proved(last_owner_destroys, whole_waits());
}

TEST_CASE("tracked_async_mutex: a wait that a stop ends leaves no trace") {
  const handled by(must_not_be_called);
  const auto report = proved(stops, whole_waits());
  CHECK(joined(seen(report)) == "1, 2");
}

TEST_CASE("tracked_async_mutex: a guard that moves to another thread tells nothing") {
  const handled by(must_not_be_called);
  proved(guard_moves, whole_waits());
}

TEST_CASE("lock_report: a handler has what its setter did") {
  const auto report = proved(handlers);
  CHECK(joined(seen(report)) == "0, 1, 2");
  proved(tells_the_last);
}

TEST_CASE("tracked_async_mutex: mutants", "[.mutants]") {
  mutants({handlers, tells_the_last});
}
