// SPDX-License-Identifier: BSL-1.0
// watermark in every execution: never backwards, one true answer for each new maximum, no raise
// missed, one total order.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <chrono>

#include <interlock/manual_timer.hpp>
#include <interlock/watermark.hpp>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"

using interlock::watermark;
using testing::world;

namespace {

// What a watermark must not be: compare, then store.
class naive_watermark {
public:
  explicit naive_watermark(int initial) : value_(initial) {}
  bool raise(int v) {
    if (v <= value_.load(sc)) return false;
    value_.store(v, sc);
    return true;
  }
  int load() const { return value_.load(sc); }

private:
  std::atomic<int> value_;
};

// And the raise that looks for waiters before it raises.
class early_look {
public:
  explicit early_look(int initial) : value_(initial) {}
  void raise(int v) {
    const bool anybody = awaited_.load(sc) != 0;
    value_.store(v, sc);
    if (!anybody) return;
    awaited_.store(0, sc);
    interlock::detail::unpark_all(&awaited_);
  }
  void wait_for_at_least(int v) const {
    while (value_.load(sc) < v) {
      awaited_.store(1, sc);
      if (value_.load(sc) < v) interlock::detail::park(awaited_, 1);
    }
  }

private:
  std::atomic<int> value_;
  mutable interlock::detail::park_word awaited_{0};
};

// Each thread raises to its numbers and looks.
template <class Mark>
void raises(world& w, int threads, int rounds) {
  auto* const mark = new Mark(0);
  bool raised[4][4] = {};  // by thread and height
  for (int t = 0; t < threads; ++t) {
    w.thread([&, mark, t, rounds] {
      int seen = 0;
      for (int i = 0; i < rounds; ++i) {
        const int height = 1 + (t + i) % 3;
        raised[t][height] = mark->raise(height);
        testing::check(!raised[t][height] || height > seen, "true only above what was there");
        seen = mark->load();
        testing::check(seen >= height, "no less than what was offered");
      }
    });
  }
  w.finally([&, mark, threads, rounds] {
    int winners[4] = {};
    for (const auto& mine : raised) {
      for (int height = 1; height <= 3; ++height) winners[height] += mine[height] ? 1 : 0;
    }
    const int highest = threads + rounds > 3 ? 3 : threads + rounds - 1;
    testing::check(mark->load() == highest, "the highest one offered");
    testing::check(winners[highest] == 1, "one has made it the maximum");
    testing::check(winners[1] <= 1 && winners[2] <= 1, "a height becomes the maximum once");
    delete mark;
  });
}

// The last one to leave destroys the mark.
void last_user(world& w) {
  auto* const mark = used_by<watermark<int>>::make(3, 0);
  for (int t = 0; t < 3; ++t) {
    w.thread([mark, t] {
      (*mark)->raise(1 + t);
      mark->leave();
    });
  }
  w.finally([] {});
}

template <class Mark>
void never_backwards(world& w) {
  Mark mark(0);
  w.thread([&] { mark.raise(2); });
  w.thread([&] { mark.raise(1); });
  w.thread([&] {
    const auto first = mark.load();
    testing::check(first <= mark.load(), "not backwards");
  });
  w.finally([&] { testing::check(mark.load() == 2, "the highest"); });
}

void stale_raises(world& w) {
  watermark<int> mark(5);
  for (int t = 0; t < 3; ++t) {
    w.thread([&, t] {
      testing::check(!mark.raise(3 + t), "no more than there is");
      mark.wait_for_at_least(5);
    });
  }
  w.finally([] {});
}

// The waiter is the last to use the mark, after the raiser has said that it returned.
template <class Mark>
void waits(world& w) {
  auto* const mark = used_by<Mark>::make(2, 0);
  int goods = 0;
  w.thread([&, mark] {
    (*mark)->wait_for_at_least(2);
    testing::check(goods == 3, "what was done before the raise is visible");
    mark->leave();
  });
  w.thread([&, mark] {
    (*mark)->raise(1);
    goods = 3;
    (*mark)->raise(2);
    mark->leave();
  });
  w.finally([] {});
}

template <class Then>
support::detached when_at(const watermark<int>& mark, int height, Then then) {
  co_await mark.async_wait_for_at_least(height);
  then();
}

// The coroutine is resumed once, by its own thread or by the one that raises.
void awaits(world& w) {
  auto* const mark = used_by<watermark<int>>::make(2, 0);
  int goods = 0;
  int resumed = 0;
  w.thread([&, mark] {
    when_at(**mark, 2, [&, mark] {
      testing::check(goods == 3, "what was done before the raise is visible");
      ++resumed;
      mark->leave();
    });
  });
  w.thread([&, mark] {
    (*mark)->raise(1);
    goods = 3;
    (*mark)->raise(2);
    mark->leave();
  });
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

// A thread and a coroutine at different heights, and two who raise.
void thread_and_coroutine(world& w) {
  watermark<int> mark(0);
  int resumed = 0;
  w.thread([&] { mark.wait_for_at_least(1); });
  w.thread([&] { when_at(mark, 2, [&] { ++resumed; }); });
  w.thread([&] { mark.raise(2); });
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

void two_raise_for_a_coroutine(world& w) {
  watermark<int> mark(0);
  int resumed = 0;
  w.thread([&] { when_at(mark, 1, [&] { ++resumed; }); });
  for (const int height : {1, 2}) w.thread([&mark, height] { mark.raise(height); });
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

support::owned waits_for_ever(const watermark<int>& mark) {
  co_await mark.async_wait_for_at_least(9);
  testing::check(false, "nobody raises it so far");
}

// A suspended coroutine is destroyed while lower waiters come and are released.
void destroyed_while_it_waits(world& w) {
  watermark<int> mark(0);
  w.thread([&] { waits_for_ever(mark).handle.destroy(); });
  w.thread([&] { mark.wait_for_at_least(1); });
  w.thread([&] { mark.raise(1); });
  w.finally([] {});
}

// A coroutine is told to stop while another thread raises: resumed once, by one of them.
template <bool raised>
void stopped_or_reached(world& w) {
  auto* const mark = used_by<watermark<int>>::make(raised ? 3 : 2, 0);
  support::stop_source source;
  int resumed = 0;
  w.thread([&, mark] {
    const auto wait = [](used_by<watermark<int>>& m, support::stop_source::token stop,
                         int& count) -> support::detached {
      const bool reached = co_await m->async_wait_for_at_least(1, stop);
      testing::check(reached || stop.stop_requested(), "no other reason");
      testing::check(!reached || m->load() == 1, "true if it is reached");
      ++count;
      m.leave();
    };
    wait(*mark, source.get_token(), resumed);
  });
  w.thread([&, mark] {
    source.request_stop();
    mark->leave();
  });
  if (raised) {
    w.thread([mark] {
      (*mark)->raise(1);
      mark->leave();
    });
  }
  w.finally([&] { testing::check(resumed == 1, "resumed once"); });
}

// A deadline instead, which a manual timer tells.
void late_or_reached(world& w) {
  watermark<int> mark(0);
  interlock::manual_timer timer;
  int resumed = 0;
  int reached = 0;
  w.thread([&] {
    const auto wait = [](watermark<int>& m, interlock::manual_timer& t, int& yes,
                         int& count) -> support::detached {
      const auto then = interlock::manual_timer::time_point(std::chrono::milliseconds(1));
      const bool in_time = co_await m.async_wait_for_at_least_until(t, then, 1);
      testing::check(!in_time || m.load() == 1, "true if it is reached");
      yes = in_time ? 1 : 0;
      ++count;
    };
    wait(mark, timer, reached, resumed);
  });
  w.thread([&] {
    timer.advance_to(interlock::manual_timer::time_point(std::chrono::milliseconds(1)));
  });
  w.thread([&] { mark.raise(1); });
  w.finally([&] {
    testing::check(resumed == 1, "resumed once");
    w.outcome(reached);
  });
}

// Two waiters for two heights, raised by different threads.
void two_heights(world& w) {
  watermark<int> mark(0);
  for (const int height : {1, 2}) w.thread([&mark, height] { mark.wait_for_at_least(height); });
  for (const int height : {1, 2}) w.thread([&mark, height] { mark.raise(height); });
  w.finally([] {});
}

void two_raises(world& w) {
  watermark<int> mark(0);
  w.thread([&] { mark.wait_for_at_least(2); });
  w.thread([&] { mark.raise(1); });
  w.thread([&] { mark.raise(2); });
  w.finally([] {});
}

void two_waiters(world& w) {
  watermark<int> mark(0);
  for (int t = 0; t < 2; ++t) w.thread([&] { mark.wait_for_at_least(1); });
  w.thread([&] { mark.raise(1); });
  w.finally([] {});
}

// Reached or not in time; a deadline in the past asks without blocking.
void timed_wait(world& w) {
  watermark<int> mark(0);
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  w.thread([&] {
    const bool reached = mark.wait_for_at_least_until(1, soon);
    testing::check(reached || std::chrono::steady_clock::now() >= soon, "not before the deadline");
    testing::check(!reached || mark.load() >= 1, "true if it is reached");
    testing::check(mark.wait_for_at_least_until(0, {}), "a deadline in the past asks");
    testing::check(!mark.wait_for_at_least_until(2, {}), "a deadline in the past asks");
  });
  w.thread([&] { mark.raise(1); });
  w.finally([] {});
}

void endless_wait(world& w) {
  watermark<int> mark(0);
  w.thread([&] {
    const auto never = std::chrono::steady_clock::time_point::max();
    testing::check(mark.wait_for_at_least_until(1, never), "there is all the time");
  });
  w.thread([&] { mark.raise(1); });
  w.finally([] {});
}

// Each raises it by one step and waits for the last.
void meet(world& w) {
  auto* const mark = new watermark<int>(0);
  for (int t = 1; t <= 3; ++t) {
    w.thread([mark, t] {
      mark->raise(t);
      mark->wait_for_at_least(3);
    });
  }
  w.finally([mark] { delete mark; });
}

// Against its Lifetime line: who was released may not destroy it under the raise.
void destroyed_by_the_waiter(world& w) {
  auto* const mark = new watermark<int>(0);
  w.thread([mark] {
    mark->wait_for_at_least(1);
    delete mark;
  });
  w.thread([mark] { mark->raise(1); });
  w.finally([] {});
}

void raise_then_look(world& w) {
  watermark<int> a(0), b(0);
  int saw_a = 0, saw_b = 0;
  w.thread([&] {
    a.raise(1);
    saw_b = b.load();
  });
  w.thread([&] {
    b.raise(1);
    saw_a = a.load();
  });
  w.finally([&] { testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other"); });
}

// A refused raise has seen the value: also what was done before it, also among several marks.
void refused_raise(world& w) {
  watermark<int> mark(0);
  int goods = 0;
  w.thread([&] {
    goods = 3;
    mark.raise(2);
  });
  w.thread([&] {
    if (!mark.raise(1)) testing::check(goods == 3, "what was done before the raise is visible");
  });
  w.finally([] {});
}

void two_readers(world& w) {
  watermark<int> a(0), b(0);
  bool a_first = false, b_first = false;
  w.thread([&] { a.raise(2); });
  w.thread([&] { b.raise(2); });
  w.thread([&] { a_first = !a.raise(1) && b.load() == 0; });
  w.thread([&] { b_first = b.load() == 2 && a.load() < 2; });
  w.finally([&] { testing::check(!a_first || !b_first, "one order for all"); });
}

}  // namespace

TEST_CASE("watermark: each new maximum is answered with true once") {
  proved([](world& w) { raises<watermark<int>>(w, 3, 2); });
  proved([](world& w) { raises<watermark<int>>(w, 4, 1); });
  failing([](world& w) { raises<naive_watermark>(w, 2, 1); });
}

TEST_CASE("watermark: never moves backwards") {
  proved(never_backwards<watermark<int>>);
  proved(never_backwards<watermark<float>>);
  failing(never_backwards<naive_watermark>);
}

TEST_CASE("watermark: stale raises and waits write nothing, so there is one execution") {
  CHECK(proved(stale_raises).executions == 1);
}

TEST_CASE("watermark: a waiter misses no raise and sees what was done before it") {
  proved(waits<watermark<int>>);
  proved(two_raises);
  proved(two_waiters);
  failing(waits<early_look>);
  proved(timed_wait);
  proved(endless_wait);
}

TEST_CASE("watermark: a coroutine is resumed once, when its height is reached") {
  proved(awaits);
  proved(thread_and_coroutine);
  proved(two_raise_for_a_coroutine);
}

TEST_CASE("watermark: a suspended coroutine may be destroyed beside lower raises") {
  proved(destroyed_while_it_waits);
}

TEST_CASE("watermark: a stop and a raise resume a coroutine once") {
  proved(stopped_or_reached<false>);
  proved(stopped_or_reached<true>);
  CHECK(joined(seen(proved(late_or_reached, whole_waits()))) == "0, 1");
}

TEST_CASE("watermark: waiters for two heights", "[.deep]") {
  proved(two_heights);
}

TEST_CASE("watermark: three threads raise it and wait for the last", "[.deep]") {
  proved(meet);
}

TEST_CASE("watermark: the last user may destroy it") {
  proved(last_user);
}

TEST_CASE("watermark: who was released must not destroy it under the raise") {
  failing(destroyed_by_the_waiter);
}

TEST_CASE("watermark: each call takes effect at one moment, on several marks too") {
  proved(raise_then_look);
  proved(refused_raise);
  proved(two_readers);
}

TEST_CASE("watermark: mutants", "[.mutants]") {
  mutants({waits<watermark<int>>, two_readers, refused_raise, two_waiters, timed_wait, endless_wait,
           [](world& w) { raises<watermark<int>>(w, 2, 1); }, awaits, two_raise_for_a_coroutine,
           stopped_or_reached<true>, stopped_or_reached<false>});
}
