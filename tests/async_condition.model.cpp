// SPDX-License-Identifier: BSL-1.0
// async_condition in every execution: no notification is missed or lost to one who gives up, and
// every wait ends as the owner of the mutex.

#include "testing/front.hpp"

#include <interlock/async_condition.hpp>
#include <interlock/detail/futex_mutex.hpp>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <utility>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"
#include "testing/last_user.hpp"

namespace detail = interlock::detail;
using interlock::async_condition;
using interlock::async_mutex;
using interlock::wait_status;
using support::detached;
using support::stop_source;
using testing::world;

namespace {

struct mailbox {
  mailbox() = default;
  explicit mailbox(interlock::max_waiters bound) : door(bound) {}

  async_mutex door;
  async_condition filled;
  int letters = 0;  // plain: a race if two are inside
  int taken = 0;
};

class outcome {
public:
  void set(wait_status status) { how_.store(1 + static_cast<int>(status), rlx); }
  bool is(wait_status status) const { return how_.load(rlx) == 1 + static_cast<int>(status); }
  bool open() const { return how_.load(rlx) == 0; }

private:
  std::atomic<int> how_{0};
};

detached takes(mailbox& box) {
  auto held = co_await box.door.lock();
  co_await box.filled.wait(held, [&box] { return box.letters != 0; });
  testing::check(held.owns_lock(), "as the owner");
  --box.letters;
  ++box.taken;
}
void take_blocking(mailbox& box) {
  auto held = box.door.lock_blocking();
  box.filled.wait_blocking(held, [&box] { return box.letters != 0; });
  testing::check(held.owns_lock(), "as the owner");
  --box.letters;
  ++box.taken;
}
detached puts(mailbox& box, bool inside) {
  auto held = co_await box.door.lock();
  ++box.letters;
  if (inside) box.filled.notify_one();
  held.unlock();
  if (!inside) box.filled.notify_one();
}

// One who takes and one who puts.
void no_letter_is_missed(world& w, bool blocks, bool inside) {
  auto* const box = new mailbox;
  w.thread([box, blocks] {
    if (blocks) {
      take_blocking(*box);
    } else {
      takes(*box);
    }
  });
  w.thread([box, inside] { puts(*box, inside); });
  w.finally([box] {
    testing::check(box->taken == 1 && box->letters == 0, "the letter was taken");
    delete box;
  });
}

void two_take(world& w) {
  auto* const box = new mailbox;
  takes(*box);
  w.thread([box] { takes(*box); });
  w.thread([box] {
    puts(*box, true);
    puts(*box, false);
  });
  w.finally([box] {
    testing::check(box->taken == 2 && box->letters == 0, "both letters were taken");
    delete box;
  });
}

// Who has taken the letter destroys the box: the notification touches nothing after the hand-over.
detached takes_and_destroys(mailbox* box) {
  {
    auto held = co_await box->door.lock();
    co_await box->filled.wait(held, [box] { return box->letters != 0; });
  }
  delete box;
}
void last_one_destroys(world& w) {
  auto* const box = new mailbox;
  w.thread([box] { takes_and_destroys(box); });
  w.thread([box] { puts(*box, true); });
  w.finally([] {});
}

// ---- ends ---------------------------------------------------------------------------------------

template <class... Stop>
detached waits(mailbox& box, outcome& end, Stop... stop) {
  auto held = co_await box.door.lock();
  const wait_status how = co_await box.filled.wait(held, stop...);
  testing::check(held.owns_lock(), "as the owner");
  ++box.taken;
  end.set(how);
}

// Two wait, one is told to stop, one notification comes: it goes to one who did not give up.
void notified_or_stopped(world& w) {
  auto* const box = new mailbox;
  auto* const stop = new stop_source;
  auto* const ends = new std::array<outcome, 2>;
  waits(*box, (*ends)[0], stop->get_token());
  waits(*box, (*ends)[1]);
  w.thread([stop] { stop->request_stop(); });
  w.thread([box] { box->filled.notify_one(); });
  w.finally([&, box, stop, ends] {
    const bool gave_up = (*ends)[0].is(wait_status::cancelled);
    testing::check(gave_up || (*ends)[0].is(wait_status::acquired), "the first wait has ended");
    testing::check((*ends)[1].open() != gave_up, "the notification went to one who waits");
    testing::check(box->taken == (gave_up ? 2 : 1), "as the owner");
    box->filled.notify_all();
    w.outcome(gave_up);
    delete box;
    delete stop;
    delete ends;
  });
}

// The stop comes at any moment of the wait: before it, between notifications, and after it.
detached waits_for_letters(mailbox& box, int letters, outcome& end, stop_source::token stop) {
  auto held = co_await box.door.lock();
  const wait_status how =
      co_await box.filled.wait(held, [&box, letters] { return box.letters >= letters; }, stop);
  testing::check(held.owns_lock(), "as the owner");
  // The other way round holds but for a stop that came before: then nobody looks.
  testing::check(how == wait_status::cancelled || box.letters >= letters, "as it says");
  end.set(how);
}
void stopped_at_any_time(world& w, int letters) {
  auto* const box = new mailbox;
  auto* const stop = new stop_source;
  auto* const end = new outcome;
  w.thread([=] { waits_for_letters(*box, letters, *end, stop->get_token()); });
  w.thread([box] { puts(*box, false); });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&w, box, stop, end] {
    testing::check(!end->open(), "the wait has ended");
    w.outcome(end->is(wait_status::acquired));
    delete box;
    delete stop;
    delete end;
  });
}

void thread_in_time_or_not(world& w) {
  auto* const box = new mailbox;
  outcome end;
  w.thread([&, box] {
    const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    auto held = box->door.lock_blocking();
    end.set(box->filled.wait_blocking_until(soon, held, [box] { return box->letters != 0; }));
    testing::check(end.is(wait_status::acquired) == (box->letters != 0), "as it says");
    testing::check(held.owns_lock(), "as the owner");
  });
  w.thread([box] { puts(*box, false); });
  w.finally([&, box] {
    w.outcome(end.is(wait_status::acquired));
    delete box;
  });
}

// The mutex is closed: who is notified gets nothing, and is told so.
detached waits_for_nothing(mailbox& box, outcome& end) {
  auto held = co_await box.door.lock();
  if (!held) {
    end.set(held.status());
    co_return;
  }
  const wait_status how = co_await box.filled.wait(held);
  testing::check(held.owns_lock() == (how == wait_status::acquired), "as it says");
  end.set(how);
}
void closed_meanwhile(world& w) {
  auto* const box = new mailbox;
  auto* const end = new outcome;
  waits_for_nothing(*box, *end);
  w.thread([box] { box->door.close(); });
  w.thread([box] { box->filled.notify_one(); });
  w.finally([&w, box, end] {
    const bool owned = end->is(wait_status::acquired);
    testing::check(owned || end->is(wait_status::closed), "the wait has ended");
    testing::check(!box->door.held(), "nothing is held");
    w.outcome(owned);
    delete box;
    delete end;
  });
}

// A bounded mutex lets the coroutine in beside an unlock; the predicate does not hold; the second
// time it has to stand in line like the first time.
void notified_twice_at_a_bounded_mutex(world& w) {
  auto* const box = new mailbox(interlock::max_waiters{8});
  takes(*box);
  w.thread([box] { static_cast<void>(box->door.try_lock().owns_lock()); });
  w.thread([box] {
    box->filled.notify_one();
    puts(*box, true);
  });
  w.finally([box] {
    testing::check(box->taken == 1 && box->letters == 0, "the letter was taken");
    testing::check(!box->door.held(), "nothing is held");
    delete box;
  });
}

// A coroutine that waits is destroyed beside others that come and go.
support::owned waits_for_ever(mailbox& box) {
  auto held = co_await box.door.lock();
  co_await box.filled.wait(held);
}
void destroyed_meanwhile(world& w) {
  auto* const box = new mailbox;
  const support::owned waiting = waits_for_ever(*box);
  w.thread([waiting] { waiting.handle.destroy(); });
  w.thread([box] { takes(*box); });
  w.finally([box] {
    puts(*box, false);
    testing::check(box->taken == 1, "the one behind is notified");
    delete box;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// A notification marks the one that has waited longest; on waking that one looks at its stop first.
class forgetful_condition {
public:
  struct waiting {
    detail::thread_waiter thread;
    std::atomic<bool> stopped{false};
  };
  void enlist(waiting& who) {
    const std::lock_guard lock(guard_);
    all_[count_++] = &who;
  }
  void notify_one() {
    waiting* first = nullptr;
    {
      const std::lock_guard lock(guard_);
      if (count_ == 0) return;
      first = all_[0];
      all_[0] = all_[--count_];
    }
    first->thread.wake();
  }
  void stop(waiting& who) {
    who.stopped.store(true, rlx);
    bool found = false;
    {
      const std::lock_guard lock(guard_);
      for (std::size_t i = 0; i < count_ && !found; ++i) {
        if (all_[i] != &who) continue;
        all_[i] = all_[--count_];
        found = true;
      }
    }
    if (found) who.thread.wake();
  }
  // Returns: true if it was notified.
  static bool wait(waiting& who) {
    who.thread.wait();
    return !who.stopped.load(rlx);  // and if both: the notification is lost
  }

private:
  detail::futex_mutex guard_;
  std::array<waiting*, 2> all_{};
  std::size_t count_ = 0;
};

void loses_a_notification(world& w) {
  auto* const condition = new forgetful_condition;
  auto* const who = new std::array<forgetful_condition::waiting, 2>;
  for (auto& each : *who) condition->enlist(each);
  w.thread([=] {
    if (!forgetful_condition::wait((*who)[0])) forgetful_condition::wait((*who)[1]);
    condition->stop((*who)[1]);
  });
  w.thread([=] { condition->stop((*who)[0]); });
  w.thread([=] { condition->notify_one(); });
  w.finally([=] {
    delete condition;
    delete who;
  });
}

// concurrencpp: unlocks the user's lock, whose next owner runs inside that call, while it holds a
// lock of its own. That owner notifies.
class holding_condition {
public:
  class awaiter {
  public:
    awaiter(holding_condition& condition, async_mutex::guard& held)
        : condition_(condition), held_(held) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) {
      const std::lock_guard lock(condition_.guard_);
      condition_.waiting_ = self;
      held_.unlock();
    }
    void await_resume() const noexcept {}

  private:
    holding_condition& condition_;
    async_mutex::guard& held_;
  };
  void notify() {
    const std::lock_guard lock(guard_);
    waiting_ = {};
  }

private:
  detail::futex_mutex guard_;
  std::coroutine_handle<> waiting_;
};

void unlocks_with_a_lock_of_its_own(world& w) {
  auto* const door = new async_mutex;
  auto* const condition = new holding_condition;
  const auto waits = [](async_mutex& d, holding_condition& c, auto then) -> support::owned {
    auto held = co_await d.lock();
    then();
    co_await holding_condition::awaiter(c, held);
  };
  const auto notifies = [](async_mutex& d, holding_condition& c) -> detached {
    const auto held = co_await d.lock();
    c.notify();
  };
  w.thread([=] {
    const support::owned waiting =
        waits(*door, *condition, [=] { notifies(*door, *condition); });
    waiting.handle.destroy();
  });
  w.finally([=] {
    delete door;
    delete condition;
  });
}
// The same with ours: the next owner notifies inside the unlock, and the waiter is listed already.
void unlocks_with_no_lock(world& w) {
  auto* const box = new mailbox;
  w.thread([box] {
    auto* const first = box;
    const auto waits = [](mailbox& b) -> detached {
      auto held = co_await b.door.lock();
      puts(b, true);
      co_await b.filled.wait(held, [&b] { return b.letters != 0; });
      --b.letters;
      ++b.taken;
    };
    waits(*first);
  });
  w.finally([box] {
    testing::check(box->taken == 1, "it went on");
    delete box;
  });
}

}  // namespace

TEST_CASE("async_condition: no notification is missed") {
  for (const bool inside : {false, true}) {
    proved([inside](world& w) { no_letter_is_missed(w, false, inside); });
    proved([inside](world& w) { no_letter_is_missed(w, true, inside); });
  }
}
TEST_CASE("async_condition: no notification is missed, two who take") { proved(two_take); }

TEST_CASE("async_condition: who was notified may destroy it") { proved(last_one_destroys); }

TEST_CASE("async_condition: a notification goes to one who waits and never to one who gave up") {
  CHECK(joined(seen(proved(notified_or_stopped))) == "0, 1");
}

TEST_CASE("async_condition: a stop comes at any time and the wait ends as the owner") {
  CHECK(joined(seen(proved([](world& w) { stopped_at_any_time(w, 1); }))) == "0, 1");
}
TEST_CASE("async_condition: a stop beside a notification that is not enough") {
  CHECK(joined(seen(proved([](world& w) { stopped_at_any_time(w, 2); }))) == "0");
}

TEST_CASE("async_condition: a deadline ends the wait of a thread or comes too late") {
  CHECK(joined(seen(proved(thread_in_time_or_not))) == "0, 1");
}

TEST_CASE("async_condition: a mutex that is closed meanwhile") {
  CHECK(joined(seen(proved(closed_meanwhile))) == "0, 1");
}

TEST_CASE("async_condition: notified twice at a mutex with a bound") {
  proved(notified_twice_at_a_bounded_mutex);
}

TEST_CASE("async_condition: a suspended coroutine leaves when it is destroyed") {
  proved(destroyed_meanwhile);
}

TEST_CASE("async_condition: a notification that is lost to one who gives up is found") {
  CHECK(failing(loses_a_notification).failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("async_condition: to unlock the mutex with a lock of its own is found") {
  CHECK(failing(unlocks_with_a_lock_of_its_own).failure.rfind("deadlock", 0) == 0);
  proved(unlocks_with_no_lock);
}

TEST_CASE("async_condition: mutants", "[.mutants]") {
  mutants({[](world& w) { no_letter_is_missed(w, false, true); },
           [](world& w) { no_letter_is_missed(w, true, false); }, notified_or_stopped,
           closed_meanwhile, destroyed_meanwhile});
}
