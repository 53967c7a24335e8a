// SPDX-License-Identifier: BSL-1.0
// async_mutex in every execution, where waits end early: who decides, who is told, and who gets the
// mutex then. And what others did here: four mistakes of the field, each of them found.

#include "testing/front.hpp"

#include <interlock/async_mutex.hpp>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"

using interlock::async_mutex;
using interlock::wait_status;
using testing::world;

namespace detail = interlock::detail;

namespace {

// A time that passes when it is told to.
struct one_deadline {
  using time_point = int;
  template <class F>
  struct alarm {
    alarm(one_deadline& timer, int, F f) : callback(timer.passed.get_token(), f) {}
    support::stop_source::token::callback_type<F> callback;
  };
  support::stop_source passed;
};

struct shared {
  async_mutex door;
  int inside = 0;  // plain: a race if two are inside
  support::stop_source stop;
  one_deadline timer;
};

// How one wait ended; -1 as long as it has not.
struct ending {
  int how = -1;
  void set(wait_status status) {
    testing::check(how == -1, "a wait ends once");
    how = static_cast<int>(status);
  }
  bool is(wait_status status) const { return how == static_cast<int>(status); }
};

support::detached section(shared& s, ending& told) {
  const auto held = co_await s.door.lock();
  told.set(held.status());
  if (held) ++s.inside;
}
template <class Token>
support::detached section(shared& s, ending& told, Token stop) {
  const auto held = co_await s.door.lock(stop);
  told.set(held.status());
  if (held) ++s.inside;
}
support::detached section_until(shared& s, ending& told) {
  const auto held = co_await s.door.lock_until(s.timer, 1, s.stop.get_token());
  told.set(held.status());
  if (held) ++s.inside;
}

void expect_free(shared& s, int sections) {
  testing::check(s.inside == sections, "all who got it were inside");
  testing::check(!s.door.held() && s.door.waiters_approx() == 0, "it is free, and nobody waits");
  const auto held = s.door.try_lock();
  testing::check(held.owns_lock() || s.door.closed(), "it can be taken");
}

// ---- three parties ------------------------------------------------------------------------------

// One thread unlocks, one begins to wait, one ends the wait; behind it somebody else waits.
void lock_unlock_cancel(world& w, bool another) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  ending first;
  ending second;
  w.thread([&] { owner.unlock(); });
  w.thread([&, s] {
    section(*s, first, s->stop.get_token());
    if (another) section(*s, second);
  });
  w.thread([s] { s->stop.request_stop(); });
  w.finally([&, s] {
    testing::check(first.is(wait_status::acquired) || first.is(wait_status::cancelled), "it ends");
    testing::check(!another || second.is(wait_status::acquired), "the other one is not forgotten");
    w.outcome(first.how);
    expect_free(*s, (first.is(wait_status::acquired) ? 1 : 0) + (another ? 1 : 0));
    delete s;
  });
}

void lock_unlock_close(world& w, bool leaver) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  ending told;
  w.thread([&] { owner.unlock(); });
  w.thread([&, s] { leaver ? section(*s, told, s->stop.get_token()) : section(*s, told); });
  w.thread([s] { s->door.close(); });
  w.finally([&, s] {
    testing::check(told.is(wait_status::acquired) || told.is(wait_status::closed), "it ends");
    w.outcome(told.how);
    expect_free(*s, told.is(wait_status::acquired) ? 1 : 0);
    delete s;
  });
}

// The stop, the deadline and the unlock at once, for one who waits.
void two_ends_and_a_grant(world& w) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  ending told;
  section_until(*s, told);
  w.thread([&] { owner.unlock(); });
  w.thread([s] { s->stop.request_stop(); });
  w.thread([s] { s->timer.passed.request_stop(); });
  w.finally([&, s] {
    w.outcome(told.how);
    testing::check(told.how >= 0, "it ends");
    expect_free(*s, told.is(wait_status::acquired) ? 1 : 0);
    delete s;
  });
}

// Two who wait are cancelled by two threads, a third comes and goes.
void two_cancels(world& w) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  support::stop_source second_stop;
  ending first;
  ending second;
  ending third;
  section(*s, first, s->stop.get_token());
  section(*s, second, second_stop.get_token());
  section(*s, third);
  testing::check(s->door.waiters_approx() == 3, "all of them are counted");
  w.thread([s] { s->stop.request_stop(); });
  w.thread([&] { second_stop.request_stop(); });
  w.thread([&] { owner.unlock(); });
  w.finally([&, s] {
    w.outcome(first.how, second.how);
    testing::check(third.is(wait_status::acquired), "the third is not forgotten");
    expect_free(*s, 1 + (first.is(wait_status::acquired) ? 1 : 0) +
                        (second.is(wait_status::acquired) ? 1 : 0));
    delete s;
  });
}

// Two wait, and each thread calls an end of both, in opposite orders, while the owner closes it or
// unlocks: whoever tells one waits for no call that waits for him.
void ends_cross(world& w, bool close) {
  struct pair {
    async_mutex door;
    int inside = 0;
    support::stop_source stops[2];
    one_deadline deadlines[2];
    ending told[2];
  };
  auto* const s = new pair;
  auto owner = s->door.try_lock();
  const auto wait = [](pair& p, int i) -> support::detached {
    const auto held = co_await p.door.lock_until(p.deadlines[i], 1, p.stops[i].get_token());
    p.told[i].set(held.status());
    if (held) ++p.inside;
  };
  wait(*s, 0);
  wait(*s, 1);
  w.thread([s] {
    s->stops[0].request_stop();
    s->deadlines[1].passed.request_stop();
  });
  w.thread([s, close] {
    if (close) s->stops[1].request_stop();
    s->deadlines[0].passed.request_stop();
  });
  w.thread([s, close, &owner] {
    if (close) s->door.close();
    owner.unlock();
  });
  w.finally([s] {
    int acquired = 0;
    for (const ending& each : s->told) {
      testing::check(each.how >= 0, "both are told");
      acquired += each.is(wait_status::acquired) ? 1 : 0;
    }
    testing::check(s->inside == acquired && !s->door.held(), "all who got it were inside");
    delete s;
  });
}

// The end comes while the coroutine arms it, lists itself, and is let in.
void deadline_against_grant(world& w) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  ending told;
  w.thread([&, s] { section_until(*s, told); });
  w.thread([s] { s->timer.passed.request_stop(); });
  w.thread([&] { owner.unlock(); });
  w.finally([&, s] {
    w.outcome(told.how);
    testing::check(told.is(wait_status::acquired) || told.is(wait_status::timed_out), "it ends");
    expect_free(*s, told.is(wait_status::acquired) ? 1 : 0);
    delete s;
  });
}

// ---- destruction --------------------------------------------------------------------------------

support::owned waits(shared& s, bool leaver) {
  if (leaver) {
    const auto held = co_await s.door.lock(s.timer.passed.get_token());
    testing::check(!held.owns_lock(), "was destroyed before its turn");
  } else {
    const auto held = co_await s.door.lock();
    testing::check(!held.owns_lock(), "was destroyed before its turn");
  }
}

// One frame is destroyed while its neighbour in the queue is cancelled and another one queues.
void destroyed_while_suspended(world& w, bool leaver) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  ending before;
  ending after;
  section(*s, before, s->stop.get_token());
  const support::owned gone = waits(*s, leaver);
  w.thread([s] { s->stop.request_stop(); });
  w.thread([&] { gone.handle.destroy(); });
  w.thread([&, s] { section(*s, after); });
  w.finally([&, s] {
    owner.unlock();
    testing::check(before.is(wait_status::cancelled), "the neighbour was told");
    testing::check(after.is(wait_status::acquired), "the one behind is not forgotten");
    expect_free(*s, 1);
    delete s;
  });
}

// Who was refused needs the mutex no more, even if it is destroyed instead of resumed.
void mutex_is_gone_first(world& w, bool leaver) {
  w.thread([leaver] {
    auto* const s = new shared;
    auto owner = s->door.try_lock();
    const support::owned refused = waits(*s, leaver);
    detail::trampoline::together([&]() noexcept {  // as in a coroutine: who is told goes on later
      s->door.close();
      owner.unlock();
      delete s;
      refused.handle.destroy();
    });
  });
  w.finally([] {});
}

// Nor does its end look at it, though the coroutine goes on much later.
support::detached waits_elsewhere(async_mutex& door, one_deadline& timer, ending& told,
                                  std::function<void()>& job) {
  const auto held = co_await door.lock_until(timer, 1).resume_on([&job](auto f) { job = f; });
  told.set(held.status());
}
void goes_on_when_it_is_gone(world& w) {
  auto* const door = new async_mutex;
  one_deadline timer;
  ending told;
  std::function<void()> job;
  auto owner = door->try_lock();
  waits_elsewhere(*door, timer, told, job);
  w.thread([&, door] {
    door->close();
    owner.unlock();
    delete door;
  });
  w.thread([&] { timer.passed.request_stop(); });
  w.finally([&] {
    testing::check(job != nullptr, "it was told");
    job();
    w.outcome(told.how);
  });
}

// The coroutine that gets the mutex last destroys it, while its own end comes too late.
struct last_one {
  async_mutex door;
  int left;
};
support::detached last_destroys(last_one* s, support::stop_source::token stop) {
  auto held = co_await s->door.lock(stop);
  testing::check(held.owns_lock() || held.status() == wait_status::cancelled, "it ends");
  if (!held) held = co_await s->door.lock();
  const bool last = --s->left == 0;
  held.unlock();
  if (last) delete s;
}
void last_owner_destroys(world& w) {
  auto* const s = new last_one{{}, 2};
  support::stop_source stop;
  support::stop_source never;
  w.thread([&, s] { last_destroys(s, stop.get_token()); });
  w.thread([&, s] { last_destroys(s, never.get_token()); });
  w.thread([&] { stop.request_stop(); });
  w.finally([] {});
}

// ---- threads ------------------------------------------------------------------------------------

// A thread that is woken to compete gives up; the other one must get the mutex all the same.
void gives_up(world& w, bool two) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  int gave_up = 0;
  w.thread([&, s] {
    const auto held = s->door.lock_blocking_until(std::chrono::steady_clock::now() +
                                                  std::chrono::milliseconds(1));
    held ? ++s->inside : ++gave_up;
  });
  if (two) {
    w.thread([s] {
      const auto held = s->door.lock_blocking();
      ++s->inside;
    });
  }
  w.thread([&] { owner.unlock(); });
  w.finally([&, s] {
    w.outcome(gave_up);
    expect_free(*s, (two ? 2 : 1) - gave_up);
    delete s;
  });
}

void thread_and_close(world& w) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  int told = 0;
  w.thread([&, s] {
    const auto held = s->door.lock_blocking();
    held ? ++s->inside : ++told;
  });
  w.thread([s] { s->door.close(); });
  w.thread([&] { owner.unlock(); });
  w.finally([&, s] {
    w.outcome(told);
    testing::check(s->door.closed(), "for ever: who takes it at that moment leaves it closed");
    expect_free(*s, 1 - told);
    delete s;
  });
}

void thread_and_coroutine_that_leaves(world& w) {
  auto* const s = new shared;
  auto owner = s->door.try_lock();
  ending told;
  section(*s, told, s->stop.get_token());
  w.thread([s] {
    const auto held = s->door.lock_blocking();
    ++s->inside;
  });
  w.thread([s] { s->stop.request_stop(); });
  w.thread([&] { owner.unlock(); });
  w.finally([&, s] {
    w.outcome(told.how);
    expect_free(*s, told.is(wait_status::acquired) ? 2 : 1);
    delete s;
  });
}

// With room for one, two come: each is in, or told at once.
void bounded(world& w) {
  struct narrow {
    async_mutex door{interlock::max_waiters{1}};
    int inside = 0;
  };
  auto* const s = new narrow;
  auto owner = s->door.try_lock();
  int refused = 0;
  ending told[2];
  const auto enter = [](narrow& n, ending& how) -> support::detached {
    const auto held = co_await n.door.lock();
    how.set(held.status());
    if (held) ++n.inside;
  };
  ending before[2];
  for (ending& each : before) enter(*s, each);
  testing::check(before[1].is(wait_status::overloaded), "the second is told at once");
  owner.unlock();
  testing::check(before[0].is(wait_status::acquired) && s->inside == 1, "the first waited");
  s->inside = 0;
  owner = s->door.try_lock();
  w.thread([&, s] { enter(*s, told[0]); });
  w.thread([&, s] { enter(*s, told[1]); });
  w.thread([&] { owner.unlock(); });
  w.finally([&, s] {
    for (const ending& each : told) refused += each.is(wait_status::overloaded) ? 1 : 0;
    w.outcome(refused);
    testing::check(s->inside == 2 - refused && refused <= 1, "one may wait");
    delete s;
  });
}

// ---- what others did ----------------------------------------------------------------------------

// tokio#1898: the wait is given up after the lock was granted, and the grant with it.
void grant_is_lost_with_the_wait(world& w) {
  struct {
    std::atomic<int> owners{1};
    std::atomic<bool> waits{true};
  } lock;
  bool entered = false;
  w.thread([&] {  // unlock: hands on to who waits
    if (!lock.waits.load(acq)) lock.owners.store(0, rel);
  });
  w.thread([&] { lock.waits.store(false, rel); });  // gives up, and does not ask whether it was late
  w.thread([&] {
    int none = 0;
    while (!lock.owners.compare_exchange_strong(none, 1, acq, rlx)) {
      none = 0;
      testing::spin_hint();
    }
    entered = true;
  });
  w.finally([&] { testing::check(entered, "somebody gets it"); });
}

// libunifex, pull request 688: a node leaves while its neighbour uses it.
void neighbour_is_used_after_it_left(world& w) {
  struct node {
    std::atomic<node*> next{nullptr};
  };
  auto* const first = new node;
  auto* const second = new node;
  first->next.store(second, rel);
  w.thread([&] {  // the second leaves: writes to the one before it
    first->next.store(second->next.load(acq), rel);
  });
  w.thread([&] { delete first; });  // the first leaves, and looks at nobody
  w.finally([&] { delete second; });
}

// A thread that was woken to take the lock gives up, and wakes nobody instead.
void gives_up_and_tells_nobody(world& w) {
  std::atomic<bool> taken{true};
  detail::park_word bell{0};
  const auto take = [&] {
    bool no = false;
    return taken.compare_exchange_strong(no, true, acq, rlx);
  };
  const auto unlock = [&] {
    taken.store(false, rel);
    bell.fetch_add(1, rel);
    detail::unpark_one(&bell);
  };
  w.thread([&] {  // waits once: then its time has come
    const std::uint32_t seen = bell.load(acq);
    if (take()) return unlock();
    detail::park_until(bell, seen, std::chrono::steady_clock::now() + std::chrono::seconds(1));
  });
  w.thread([&] {
    while (true) {
      const std::uint32_t seen = bell.load(acq);
      if (take()) return unlock();
      detail::park(bell, seen);
    }
  });
  w.thread([&] { unlock(); });
  w.finally([] {});
}

}  // namespace

TEST_CASE("async_mutex: lock, unlock and cancel") {
  const auto report = proved([](world& w) { lock_unlock_cancel(w, false); }, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
  proved([](world& w) { lock_unlock_cancel(w, true); }, whole_waits());
}

TEST_CASE("async_mutex: lock, unlock and close") {
  for (const bool leaver : {false, true}) {
    const auto report =
        proved([leaver](world& w) { lock_unlock_close(w, leaver); }, whole_waits());
    CHECK(joined(seen(report)) == "0, 3");
  }
}

TEST_CASE("async_mutex: a stop, a deadline and a grant: one of them decides") {
  const auto report = proved(two_ends_and_a_grant, whole_waits());
  CHECK(joined(seen(report)) == "0, 1, 2");
}

TEST_CASE("async_mutex: two cancels and an unlock") {
  const auto report = proved(two_cancels, whole_waits());
  CHECK(joined(seen(report)) == "0 0, 0 1, 1 0, 1 1");
}

TEST_CASE("async_mutex: the ends of two cross") {
  proved([](world& w) { ends_cross(w, false); }, whole_waits());
}
TEST_CASE("async_mutex: the ends of two cross while it is closed", "[.deep]") {
  proved([](world& w) { ends_cross(w, true); }, whole_waits());
}

TEST_CASE("async_mutex: a deadline that passes while the wait begins") {
  const auto report = proved(deadline_against_grant, whole_waits());
  CHECK(joined(seen(report)) == "0, 2");
}

TEST_CASE("async_mutex: a coroutine is destroyed while it waits") {
  proved([](world& w) { destroyed_while_suspended(w, false); }, whole_waits());
  proved([](world& w) { destroyed_while_suspended(w, true); }, whole_waits());
}

TEST_CASE("async_mutex: it is gone before a coroutine that it refused") {
  proved([](world& w) { mutex_is_gone_first(w, false); }, whole_waits());
  proved([](world& w) { mutex_is_gone_first(w, true); }, whole_waits());
}

TEST_CASE("async_mutex: it is gone before a coroutine goes on that it refused") {
  const auto report = proved(goes_on_when_it_is_gone, whole_waits());
  CHECK(joined(seen(report)) == "2, 3");
}

TEST_CASE("async_mutex: the last owner destroys it while its stop comes too late") {
  proved(last_owner_destroys, whole_waits());
}

TEST_CASE("async_mutex: a thread gives up at its deadline") {
  const auto report = proved([](world& w) { gives_up(w, false); });
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("async_mutex: a thread that was woken to compete gives up") {
  testing::options how;
  how.departures = 3;  // of all, there are too many
  const auto report = testing::explore(how, [](world& w) { gives_up(w, true); });
  CAPTURE(report.text());
  CHECK(report.failure.empty());
  CHECK(joined(seen(report)) == "0, 1");
}
TEST_CASE("async_mutex: a thread that was woken to compete gives up: all executions", "[.deep]") {
  proved([](world& w) { gives_up(w, true); });
}

TEST_CASE("async_mutex: a thread waits while it is closed") {
  const auto report = proved(thread_and_close, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("async_mutex: a thread and a coroutine that leaves") {
  const auto report = proved(thread_and_coroutine_that_leaves, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("async_mutex: a bound on those who wait") {
  const auto report = proved(bounded, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("async_mutex: a grant that is lost with its wait is found (tokio 1898)") {
  const auto report = failing(grant_is_lost_with_the_wait);
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("async_mutex: a neighbour that is used after it left is found (libunifex 688)") {
  const auto report = failing(neighbour_is_used_after_it_left);
  CHECK(report.failure.rfind("use after free", 0) == 0);
}

TEST_CASE("async_mutex: a thread that gives up and tells nobody is found") {
  const auto report = failing(gives_up_and_tells_nobody);
  INFO(report.failure);
  CHECK(report.failure.find("nobody will unpark") != std::string::npos);
}

TEST_CASE("async_mutex.ends: mutants", "[.mutants]") {
  mutants({[](world& w) { lock_unlock_cancel(w, true); }, two_cancels, thread_and_close,
           [](world& w) { lock_unlock_close(w, false); },
           [](world& w) { destroyed_while_suspended(w, false); }, last_owner_destroys, bounded});
}
