// SPDX-License-Identifier: BSL-1.0
// lock_all in every execution: opposite orders, a stop, a closed mutex and a destroyed coroutine
// leave nobody stuck and nothing held.

#include "testing/front.hpp"

#include <interlock/lock_all.hpp>

#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"

using interlock::async_mutex;
using interlock::async_shared_mutex;
using interlock::lock_all;
using interlock::lock_all_blocking;
using interlock::lock_all_blocking_until;
using interlock::try_lock_all;
using interlock::wait_status;
using support::detached;
using support::stop_source;
using testing::world;

namespace {

template <class A, class B>
struct pair_of {
  A a;
  B b;
  int in_a = 0;  // plain: a race if two are inside
  int in_b = 0;

  void enter() {
    ++in_a;
    ++in_b;
  }
  bool is_free() { return try_lock_all(a, b).owns_lock(); }
};
using mutexes = pair_of<async_mutex, async_mutex>;
using mixed = pair_of<async_mutex, async_shared_mutex>;

class outcome {
public:
  void set(wait_status status) { how_.store(1 + static_cast<int>(status), rlx); }
  bool is(wait_status status) const { return how_.load(rlx) == 1 + static_cast<int>(status); }

private:
  std::atomic<int> how_{0};
};

template <class Pair, class... Stop>
detached forth(Pair& p, outcome& end, Stop... stop) {
  const auto held = co_await lock_all(p.a, p.b, stop...);
  if (held) p.enter();
  end.set(held.status());
}
template <class Pair, class... Stop>
detached back(Pair& p, outcome& end, Stop... stop) {
  const auto held = co_await lock_all(p.b, p.a, stop...);
  if (held) p.enter();
  end.set(held.status());
}

// Two coroutines name the mutexes in opposite orders, and a third one is in between, at one of them.
template <class Pair>
void opposite_orders(world& w, bool third) {
  auto* const p = new Pair;
  auto* const ends = new std::array<outcome, 2>;
  w.thread([=] { forth(*p, (*ends)[0]); });
  w.thread([=] { back(*p, (*ends)[1]); });
  if (third) {
    w.thread([=] {
      const auto held = p->b.try_lock();
      if (held) ++p->in_b;
    });
  }
  w.finally([=] {
    for (const outcome& each : *ends) testing::check(each.is(wait_status::acquired), "both got in");
    testing::check(p->in_a == 2 && p->is_free(), "free at the end");
    delete p;
    delete ends;
  });
}

void threads_in_opposite_orders(world& w, bool coroutine) {
  auto* const p = new mutexes;
  auto* const end = new outcome;
  w.thread([=] {
    const auto held = lock_all_blocking(p->a, p->b);
    p->enter();
  });
  w.thread([=] {
    if (coroutine) return static_cast<void>(back(*p, *end));
    const auto held = lock_all_blocking(p->b, p->a);
    p->enter();
  });
  w.finally([=] {
    testing::check(p->in_a == 2 && p->is_free(), "both got in");
    delete p;
    delete end;
  });
}

// One who takes all, one who takes the second alone, and a stop at any moment.
detached second_alone(mutexes& p) {
  const auto held = co_await p.b.lock();
  ++p.in_b;
}
void stopped_at_any_time(world& w) {
  auto* const p = new mutexes;
  auto* const stop = new stop_source;
  auto* const end = new outcome;
  w.thread([=] { second_alone(*p); });
  w.thread([=] { forth(*p, *end, stop->get_token()); });
  w.thread([=] { stop->request_stop(); });
  w.finally([&w, p, stop, end] {
    const bool entered = end->is(wait_status::acquired);
    testing::check(entered || end->is(wait_status::cancelled), "it has ended");
    testing::check(p->in_a == (entered ? 1 : 0) && p->in_b == 1 + p->in_a, "and all got in");
    testing::check(p->is_free(), "free at the end");
    w.outcome(entered);
    delete p;
    delete stop;
    delete end;
  });
}

// It waits at the second one, holding the first, behind which somebody else waits. Owners leave, a
// stop comes: who waits behind gets in.
template <class Pair>
void stopped_while_others_wait(world& w) {
  auto* const p = new Pair;
  auto* const stop = new stop_source;
  auto* const ends = new std::array<outcome, 2>;
  auto second = p->b.try_lock();
  forth(*p, (*ends)[0], stop->get_token());
  back(*p, (*ends)[1]);
  w.thread([&] { second.unlock(); });
  w.thread([=] { stop->request_stop(); });
  w.finally([&w, p, stop, ends] {
    const bool entered = (*ends)[0].is(wait_status::acquired);
    testing::check(entered || (*ends)[0].is(wait_status::cancelled), "it has ended");
    testing::check((*ends)[1].is(wait_status::acquired), "the one behind got in");
    testing::check(p->in_a == (entered ? 2 : 1) && p->is_free(), "free at the end");
    w.outcome(entered);
    delete p;
    delete stop;
    delete ends;
  });
}

// One of them is closed while it is on its way.
void closed_meanwhile(world& w) {
  auto* const p = new mutexes;
  auto* const end = new outcome;
  auto second = p->b.try_lock();
  forth(*p, *end);
  w.thread([&] { second.unlock(); });
  w.thread([p] { p->b.close(); });
  w.thread([p] {
    const auto held = p->a.lock_blocking();
    ++p->in_a;
  });
  w.finally([&w, p, end] {
    const bool entered = end->is(wait_status::acquired);
    testing::check(entered || end->is(wait_status::closed), "it has ended");
    testing::check(p->in_a == (entered ? 2 : 1), "the other one got in");
    testing::check(!p->a.held() && !p->b.held(), "nothing is held");
    w.outcome(entered);
    delete p;
    delete end;
  });
}

// A coroutine that waits at the second one, holding the first, is destroyed.
support::owned waits_for_all(mutexes& p) {
  const auto held = co_await lock_all(p.a, p.b);
  p.enter();
}
void destroyed_meanwhile(world& w) {
  auto* const p = new mutexes;
  auto* const end = new outcome;
  auto higher = &p->a < &p->b ? p->b.try_lock() : p->a.try_lock();
  const support::owned waiting = waits_for_all(*p);
  w.thread([waiting] { waiting.handle.destroy(); });
  w.thread([=] { forth(*p, *end); });
  w.finally([&, p, end] {
    higher.unlock();
    testing::check(end->is(wait_status::acquired) && p->in_a == 1, "the other one got in");
    testing::check(p->is_free(), "free at the end");
    delete p;
    delete end;
  });
}

void thread_in_time_or_not(world& w) {
  auto* const p = new mutexes;
  outcome end;
  auto second = p->b.try_lock();
  w.thread([&, p] {
    const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    const auto held = lock_all_blocking_until(soon, p->a, p->b);
    if (held) p->enter();
    end.set(held.status());
  });
  w.thread([&] { second.unlock(); });
  w.finally([&, p] {
    const bool entered = end.is(wait_status::acquired);
    testing::check(entered || end.is(wait_status::timed_out), "it has ended");
    testing::check(p->is_free(), "free at the end");
    w.outcome(entered);
    delete p;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// By hand, each in its own order.
detached one_by_one(async_mutex& first, async_mutex& second, outcome& end) {
  const auto one = co_await first.lock();
  const auto other = co_await second.lock();
  end.set(wait_status::acquired);
}
void by_hand(world& w) {
  auto* const p = new mutexes;
  auto* const ends = new std::array<outcome, 2>;
  w.thread([=] { one_by_one(p->a, p->b, (*ends)[0]); });
  w.thread([=] { one_by_one(p->b, p->a, (*ends)[1]); });
  w.finally([=] {
    for (const outcome& each : *ends) testing::check(each.is(wait_status::acquired), "both got in");
    delete p;
    delete ends;
  });
}
void by_hand_blocking(world& w) {
  auto* const p = new mutexes;
  const auto both = [](async_mutex& first, async_mutex& second) {
    const auto one = first.lock_blocking();
    const auto other = second.lock_blocking();
  };
  w.thread([=] { both(p->a, p->b); });
  w.thread([=] { both(p->b, p->a); });
  w.finally([p] { delete p; });
}

}  // namespace

TEST_CASE("lock_all: coroutines that name them in opposite orders") {
  proved([](world& w) { opposite_orders<mutexes>(w, false); });
  proved([](world& w) { opposite_orders<mutexes>(w, true); });
  proved([](world& w) { opposite_orders<mixed>(w, true); });
}

TEST_CASE("lock_all: a thread and a coroutine that name them in opposite orders") {
  proved([](world& w) { threads_in_opposite_orders(w, true); });
}
TEST_CASE("lock_all: threads that name them in opposite orders") {
  proved([](world& w) { threads_in_opposite_orders(w, false); });
}

TEST_CASE("lock_all: a stop comes at any time and leaves nothing held") {
  CHECK(joined(seen(proved(stopped_at_any_time))) == "0, 1");
  CHECK(joined(seen(proved(stopped_while_others_wait<mutexes>))) == "0, 1");
  CHECK(joined(seen(proved(stopped_while_others_wait<mixed>))) == "0, 1");
}

TEST_CASE("lock_all: one of them is closed meanwhile") {
  CHECK(joined(seen(proved(closed_meanwhile))) == "0, 1");
}

TEST_CASE("lock_all: a suspended coroutine gives back what it holds when it is destroyed") {
  proved(destroyed_meanwhile);
}

TEST_CASE("lock_all: a deadline ends the wait of a thread and leaves nothing held") {
  CHECK(joined(seen(proved(thread_in_time_or_not))) == "0, 1");
}

TEST_CASE("lock_all: two who lock by hand in opposite orders are found") {
  failing(by_hand);
  CHECK(failing(by_hand_blocking).failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("lock_all: mutants", "[.mutants]") {
  mutants({[](world& w) { opposite_orders<mixed>(w, false); }, stopped_while_others_wait<mixed>});
}
