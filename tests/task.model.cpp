// SPDX-License-Identifier: BSL-1.0
// task, when_all, sync_wait and reschedule where tasks change threads: results and exceptions reach
// who awaits them, what was done before is visible, stops arrive, frames may go with their last user.

#include "testing/front.hpp"

#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/watermark.hpp>
#include <interlock/when_all.hpp>
#include <interlock/with_deadline.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <exception>
#include <tuple>
#include <utility>
#include <vector>

#include "support/awaiters.hpp"
#include "support/stopping.hpp"
#include "testing/ferry.hpp"

namespace detail = interlock::detail;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;
using support::counted;
using testing::world;

namespace {

struct broken {};

enum class ends { with_result, with_exception };

task<int> crosses(ferry& over, int& plain, ends how) {
  co_await over;
  ++plain;
  if (how == ends::with_exception) throw broken();
  co_return plain;
}

task<int> calls(ferry& over, int& plain, ends how) {
  ++plain;
  const int inner = co_await crosses(over, plain, how);
  co_return inner * 10;
}

// One thread waits for a task that ends on another. It ends all that the task used.
void waits_for_another(world& w, ends how) {
  struct trip {
    ferry over;
    int plain = 0;
  };
  auto* const t = new trip;
  w.thread([t, how] {
    task<int> work = calls(t->over, t->plain, how);
    testing::check(t->plain == 0, "a task does not run before it is awaited");
    int result = 0;
    bool thrown = false;
    try {
      result = sync_wait(std::move(work));
    } catch (const broken&) {
      thrown = true;
    }
    testing::check(thrown == (how == ends::with_exception), "the exception reaches who awaits");
    testing::check(thrown || result == 20, "the result reaches who awaits");
    testing::check(t->plain == 2, "what the task did happens before");
    delete t;
  });
  w.thread([t] { t->over.carry(); });
  w.finally([] {});
}

// Each of the tasks ends on a thread of its own.
void gathers(world& w, int threads, int failing_one) {
  struct trip {
    ferry over;
    int plain = 0;
  };
  auto* const trips = new std::vector<trip>(static_cast<std::size_t>(threads));
  w.thread([trips, failing_one] {
    std::vector<task<int>> tasks;
    int number = 0;
    for (trip& each : *trips) {
      const bool fails = number++ == failing_one;
      tasks.push_back(
          crosses(each.over, each.plain, fails ? ends::with_exception : ends::with_result));
    }
    bool thrown = false;
    try {
      const std::vector<int> results = sync_wait(when_all(std::move(tasks)));
      testing::check(results == std::vector<int>(trips->size(), 1), "all results, in order");
    } catch (const broken&) {
      thrown = true;
    }
    testing::check(thrown == (failing_one >= 0), "a failure is thrown");
    for (const trip& each : *trips) testing::check(each.plain == 1, "only after all have ended");
    delete trips;
  });
  for (int t = 0; t < threads; ++t) {
    w.thread([t, trips] { (*trips)[static_cast<std::size_t>(t)].over.carry(); });
  }
  w.finally([] {});
}

// Both fail, on two threads: one of the failures is thrown, and the other is dropped.
task<int> breaks(ferry& over, int what) {
  co_await over;
  throw what;
}

void fails_twice(world& w) {
  auto* const over = new ferry[2];
  w.thread([over] {
    int caught = 0;
    try {
      sync_wait(when_all(breaks(over[0], 1), breaks(over[1], 2)));
    } catch (int what) {
      caught = what;
    }
    testing::check(caught == 1 || caught == 2, "one of both");
    delete[] over;
  });
  for (int t = 0; t < 2; ++t) w.thread([over, t] { over[t].carry(); });
  w.finally([] {});
}

// The failure of one ends the wait of the other, which says so; its own failure comes too late.
task<int> waits_or_breaks(const interlock::watermark<int>& level) {
  const auto stop = co_await interlock::current_stop_token();
  const bool reached = co_await level.async_wait_for_at_least(1, stop);
  if (!reached) throw 2;
  co_return 0;
}

void stops_the_rest(world& w) {
  struct trip {
    ferry over;
    interlock::watermark<int> level{0};
  };
  auto* const t = new trip;
  w.thread([t] {
    int caught = 0;
    try {
      sync_wait(when_all(waits_or_breaks(t->level), breaks(t->over, 1)));
    } catch (int what) {
      caught = what;
    }
    testing::check(caught == 1, "the cause is thrown, not what came of it");
    delete t;
  });
  w.thread([t] { t->over.carry(); });
  w.finally([] {});
}

// A stop from outside races with the end of what it stops. The source outlives both threads.
task<bool> crosses_and_looks(ferry& over) {
  co_await over;
  const auto stop = co_await interlock::current_stop_token();
  co_return stop.stop_requested();
}

template <class Source>
void stops_at_the_end(world& w) {
  struct trip {
    ferry over;
    Source stop;
    bool seen = false;
  };
  auto* const t = new trip;
  w.thread([t] {
    const auto result = sync_wait(when_all(crosses_and_looks(t->over)), t->stop.get_token());
    t->seen = std::get<0>(result);
    testing::check(!t->seen || t->stop.get_token().stop_requested(), "who sees it was told");
  });
  w.thread([t] { t->stop.request_stop(); });
  w.thread([t] { t->over.carry(); });
  w.finally([&w, t] {
    w.outcome(t->seen);
    delete t;
  });
}

// The stop of who awaits ends the wait of a child.
task<bool> waits_for_level(const interlock::watermark<int>& level) {
  const auto stop = co_await interlock::current_stop_token();
  co_return co_await level.async_wait_for_at_least(1, stop);
}

void stops_from_outside(world& w) {
  struct trip {
    interlock::watermark<int> level{0};
    interlock::inplace_stop_source stop;
  };
  auto* const t = new trip;
  w.thread([t] {
    const auto [reached] = sync_wait(when_all(waits_for_level(t->level)), t->stop.get_token());
    testing::check(!reached, "it was stopped");
  });
  w.thread([t] { t->stop.request_stop(); });
  w.finally([t] { delete t; });
}

// A deadline races with the end of the work; the timer outlives both.
void rings_at_the_end(world& w) {
  using namespace std::chrono_literals;
  struct trip {
    ferry over;
    interlock::manual_timer timer;
    bool seen = false;
  };
  auto* const t = new trip;
  const auto limit = t->timer.now() + 1s;
  w.thread([t, limit] {
    t->seen = sync_wait(with_deadline(t->timer, limit, crosses_and_looks(t->over)));
    testing::check(!t->seen || t->timer.now() >= limit, "not before the deadline");
  });
  w.thread([t, limit] { t->timer.advance_to(limit); });
  w.thread([t] { t->over.carry(); });
  w.finally([&w, t] {
    w.outcome(t->seen);
    delete t;
  });
}

// A task of a when_all that ends at once, beside one that ends elsewhere; results in their order.
task<int> at_once() { co_return 5; }

void gathers_mixed(world& w) {
  auto* const over = new ferry;
  w.thread([over] {
    int plain = 0;
    std::vector<task<int>> tasks;
    tasks.push_back(at_once());
    tasks.push_back(crosses(*over, plain, ends::with_result));
    tasks.push_back(at_once());
    testing::check(sync_wait(when_all(std::move(tasks))) == std::vector<int>{5, 1, 5}, "in order");
    delete over;
  });
  w.thread([over] { over->carry(); });
  w.finally([] {});
}

// Two tasks get ready together on the thread that carries them; each lets the other one run.
task<> takes_turns(ferry& over, std::vector<int>& log, int who) {
  co_await over;
  log.push_back(who);
  co_await reschedule();
  log.push_back(who);
}

void reschedules(world& w) {
  struct trip {
    ferry over[2];
    std::vector<int> log;
  };
  auto* const t = new trip;
  t->log.reserve(4);
  w.thread([t] {
    std::vector<task<>> tasks;
    for (int i = 0; i < 2; ++i) tasks.push_back(takes_turns(t->over[i], t->log, i));
    sync_wait(when_all(std::move(tasks)));
    testing::check(t->log == std::vector<int>{0, 1, 0, 1}, "each had its turn");
    delete t;
  });
  w.thread([t] {
    detail::trampoline::together([t] {
      t->over[0].carry();
      t->over[1].carry();
    });
  });
  w.finally([] {});
}

// sync_wait inside a coroutine that runs on another thread's sync_wait.
task<> waits_inside(ferry& first, ferry& second, int& plain) {
  co_await first;
  ++plain;
  testing::check(sync_wait(crosses(second, plain, ends::with_result)) == 2, "the inner result");
  ++plain;
}

void waits_nested(world& w) {
  struct trip {
    ferry first, second;
    int plain = 0;
  };
  auto* const t = new trip;
  w.thread([t] {
    sync_wait(waits_inside(t->first, t->second, t->plain));
    testing::check(t->plain == 3, "both are done");
    delete t;
  });
  w.thread([t] { t->first.carry(); });
  w.thread([t] { t->second.carry(); });
  w.finally([] {});
}

// A task that waits is destroyed by another thread than the one that started it.
struct never {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}
};

task<> inner_wait(int& alive) {
  const counted here(alive);
  co_await never();
}
task<> outer_wait(int& alive) {
  const counted here(alive);
  co_await inner_wait(alive);
}

struct starter {
  struct promise_type {
    starter get_return_object() noexcept {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> frame;
};
starter start(task<> work) { co_await std::move(work); }

void destroyed_elsewhere(world& w) {
  int alive = 0;
  std::atomic<void*> frame{nullptr};
  w.thread([&] {
    const starter begun = start(outer_wait(alive));
    testing::check(alive == 2, "both wait");
    frame.store(begun.frame.address(), rel);
  });
  w.thread([&] {
    void* address = nullptr;
    while ((address = frame.load(acq)) == nullptr) testing::spin_hint();
    std::coroutine_handle<>::from_address(address).destroy();
  });
  w.finally([&] { testing::check(alive == 0, "both frames are gone"); });
}

// ---- what others do -----------------------------------------------------------------------------

// Counts the tasks that have ended with a look and a store.
class naive_gathering {
public:
  explicit naive_gathering(int parts) : pending_(parts) {}
  void arrive() {
    const int left = pending_.load(acq) - 1;
    pending_.store(left, rel);
    if (left == 0) done_.wake();
  }
  void wait() { done_.wait(); }

private:
  std::atomic<int> pending_;
  detail::thread_waiter done_;
};

void loses_an_arrival(world& w) {
  auto* const all = new naive_gathering(2);
  w.thread([all] {
    all->wait();
    delete all;
  });
  for (int t = 0; t < 2; ++t) w.thread([all] { all->arrive(); });
  w.finally([] {});
}

// Hands on a stop to a source that does not wait for whoever is at it.
void stops_what_is_gone(world& w) {
  std::atomic<interlock::inplace_stop_source*> heard{nullptr};
  w.thread([&] {
    auto* const mine = new interlock::inplace_stop_source;
    heard.store(mine, rel);
    heard.store(nullptr, rel);
    delete mine;
  });
  w.thread([&] {
    if (auto* const to = heard.load(acq)) to->request_stop();
  });
  w.finally([] {});
}

// The task's end sets a flag that publishes nothing.
void waits_without_order(world& w) {
  std::atomic<bool> done{false};
  int result = 0;
  w.thread([&] {
    while (!done.load(rlx)) testing::spin_hint();
    testing::check(result == 1, "the result");
  });
  w.thread([&] {
    result = 1;
    done.store(true, rlx);
  });
  w.finally([] {});
}

}  // namespace

TEST_CASE("task: its result or its exception reaches the one who awaits it, from another thread") {
  proved([](world& w) { waits_for_another(w, ends::with_result); });
  proved([](world& w) { waits_for_another(w, ends::with_exception); });
}

TEST_CASE("task: it may be destroyed while it waits, by another thread") {
  proved(destroyed_elsewhere);
}

TEST_CASE("sync_wait returns once the awaitable is done, also inside a coroutine") {
  proved(waits_nested);
}

TEST_CASE("when_all ends when all tasks have ended: on two threads, on three") {
  proved([](world& w) { gathers(w, 2, -1); });
  proved([](world& w) { gathers(w, 3, -1); });
  proved(gathers_mixed);
}

TEST_CASE("when_all throws the first failure only after all tasks have ended") {
  for (const int which : {0, 1}) proved([which](world& w) { gathers(w, 2, which); });
}

TEST_CASE("when_all throws one of two failures, and the failure of one stops the other") {
  proved(fails_twice, whole_waits());
  proved(stops_the_rest, whole_waits());
}

TEST_CASE("when_all: a stop from outside reaches its children, or comes too late") {
  proved(stops_from_outside, whole_waits());
  const auto report = proved(stops_at_the_end<interlock::inplace_stop_source>, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("with_deadline: a deadline stops the work, or comes too late") {
  CHECK(joined(seen(proved(rings_at_the_end, whole_waits()))) == "0, 1");
}

TEST_CASE("sync_wait hands on a stop by any token, or it comes too late") {
  const auto report = proved(stops_at_the_end<support::stop_source>, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("when_all ends when all tasks have ended: on four threads") {
  proved([](world& w) { gathers(w, 4, -1); });
}

TEST_CASE("after reschedule every coroutine that was ready on the thread has had its turn") {
  proved(reschedules);
}

TEST_CASE("task: an arrival that is counted by a look and a store is found") {
  failing(loses_an_arrival);
}

TEST_CASE("when_all: a stop that is handed on to what is gone is found") {
  failing(stops_what_is_gone);
}

TEST_CASE("task: a wait that sees nothing of what was done is found") {
  failing(waits_without_order);
}

TEST_CASE("task: mutants", "[.mutants]") {
  mutants({[](world& w) { waits_for_another(w, ends::with_result); },
           [](world& w) { gathers(w, 2, -1); }});
}

TEST_CASE("task: mutants of stops", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({fails_twice, stops_the_rest, stops_at_the_end<interlock::inplace_stop_source>}, how);
}
