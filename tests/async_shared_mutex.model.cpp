// SPDX-License-Identifier: BSL-1.0
// async_shared_mutex in every execution: a writer is alone, nobody is left behind by one who gives
// up, is told `closed` or is destroyed, and who is done with it last may destroy it.

#include "testing/front.hpp"

#include <interlock/async_shared_mutex.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/stopping.hpp"
#include "testing/last_user.hpp"

namespace detail = interlock::detail;
using interlock::async_shared_mutex;
using interlock::max_waiters;
using interlock::wait_status;
using support::detached;
using support::stop_source;
using testing::world;

namespace {

struct guarded {
  async_shared_mutex door;
  int written = 0;  // plain: a race if a writer is not alone
};
using user = void (*)(guarded&);

void write_blocking(guarded& g) {
  const auto held = g.door.lock_blocking();
  ++g.written;
}
void read_blocking(guarded& g) {
  const auto held = g.door.lock_shared_blocking();
  testing::check(g.written >= 0, "reads");
}

detached writes(guarded& g) {
  const auto held = co_await g.door.lock();
  ++g.written;
}
detached reads(guarded& g, std::atomic<int>* done = nullptr) {
  {
    const auto held = co_await g.door.lock_shared();
    testing::check(g.written >= 0, "reads");
  }
  if (done != nullptr) done->fetch_add(1, rlx);
}
void write_detached(guarded& g) { writes(g); }
void read_detached(guarded& g) { reads(g); }

// Users that are alike stand together.
void sections(world& w, std::vector<user> users, int writers) {
  auto* const g = new guarded;
  for (std::size_t i = 0, n = 0; i < users.size(); i += n) {
    for (n = 1; i + n < users.size() && users[i + n] == users[i];) ++n;
    w.threads(static_cast<unsigned>(n), [g, enter = users[i]] { enter(*g); });
  }
  w.finally([g, writers] {
    testing::check(g->written == writers, "every section was run");
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    delete g;
  });
}

// Three readers, of whom one is let in by a writer and one joins those who are in.
void joins_readers(world& w) {
  auto* const g = new guarded;
  w.thread([g] { writes(*g); });
  w.threads(2, [g] { reads(*g); });
  w.finally([g] { delete g; });
}

// The last one, whoever it is, destroys the mutex right after it let go. A thread blocks; coroutines
// go on wherever they are let in.
void last_user_destroys(world& w, std::vector<user> users) {
  auto* const shared = used_by<guarded>::make(static_cast<int>(users.size()));
  for (const user enter : users) {
    w.thread([shared, enter] {
      enter(**shared);
      shared->leave();
    });
  }
  w.finally([] {});
}
detached leaves(used_by<guarded>* shared, bool as_writer) {
  guarded& g = **shared;
  if (as_writer) {
    auto held = co_await g.door.lock();
    ++g.written;
    held.unlock();
  } else {
    auto held = co_await g.door.lock_shared();
    held.unlock();
  }
  shared->leave();
}
void last_coroutine_destroys(world& w, int writers, int readers) {
  auto* const shared = used_by<guarded>::make(writers + readers);
  w.threads(static_cast<unsigned>(writers), [shared] { leaves(shared, true); });
  w.threads(static_cast<unsigned>(readers), [shared] { leaves(shared, false); });
  w.finally([] {});
}

// The last writer knows by what the mutex protects that it is the last one.
detached last_writer(guarded* g, int writers) {
  bool last = false;
  {
    const auto held = co_await g->door.lock();
    last = ++g->written == writers;
  }
  if (last) delete g;
}
void last_writer_destroys(world& w, int writers) {
  auto* const g = new guarded;
  w.threads(static_cast<unsigned>(writers), [g, writers] { last_writer(g, writers); });
  w.finally([] {});
}

// ---- giving up ----------------------------------------------------------------------------------

struct ended {
  std::atomic<int> how{0};  // 1 + the status
  void set(wait_status status) { how.store(1 + static_cast<int>(status), rlx); }
  int get() const { return how.load(rlx); }
};

detached writes_unless(guarded& g, stop_source& stop, ended& end) {
  const auto held = co_await g.door.lock(stop.get_token());
  end.set(held.status());
  if (held) ++g.written;
}
detached reads_unless(guarded& g, stop_source& stop, ended& end) {
  const auto held = co_await g.door.lock_shared(stop.get_token());
  end.set(held.status());
  if (held) testing::check(g.written >= 0, "reads");
}

constexpr int of(wait_status status) { return 1 + static_cast<int>(status); }

// A reader is in. A writer waits, may be cancelled at any moment, and a reader is behind it.
void writer_gives_up(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  std::atomic<int> done{0};
  auto first = g->door.try_lock_shared();
  w.thread([&] { const auto gone = std::move(first); });
  w.thread([&, g, stop, end] {
    writes_unless(*g, *stop, *end);
    reads(*g, &done);
  });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&, g, stop, end] {
    testing::check(done.load(rlx) == 1, "the reader behind got in");
    testing::check(end->get() == of(wait_status::cancelled) || g->written == 1, "one of both");
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    w.outcome(g->written);
    delete g;
    delete stop;
    delete end;
  });
}

// As above, but the reader that is in stays: then only who gives up can let the other one in.
void reader_stays(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  std::atomic<int> done{0};
  auto first = g->door.try_lock_shared();
  w.thread([g, stop, end] { writes_unless(*g, *stop, *end); });
  w.thread([&, g] { reads(*g, &done); });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&, g, stop, end] {
    testing::check(done.load(rlx) == 1, "the reader behind got in");
    testing::check(end->get() == of(wait_status::cancelled), "no writer got in");
    first.unlock();
    delete g;
    delete stop;
    delete end;
  });
}

// A writer is in and leaves; those it lets in see what it did, also when another writer between
// gives up meanwhile.
void readers_see_the_writer_before(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  std::atomic<int> done{0};
  auto first = g->door.try_lock();
  reads(*g, &done);
  writes_unless(*g, *stop, *end);
  reads(*g, &done);
  w.thread([&, g] {
    g->written += 10;
    first.unlock();
  });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&, g, stop, end] {
    testing::check(done.load(rlx) == 2, "both readers got in");
    w.outcome(g->written);
    delete g;
    delete stop;
    delete end;
  });
}

// The same without a queue between: it is the word that tells what the writer did.
void readers_see_a_writer_that_met_nobody(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  async_shared_mutex::shared_guard shared;
  w.thread([&, g] {
    auto alone = g->door.try_lock();
    if (!alone) return;
    g->written = 1;
    alone.unlock();
    shared = g->door.try_lock_shared();
  });
  w.thread([g, stop, end] {
    writes_unless(*g, *stop, *end);
    reads(*g);
    stop->request_stop();
  });
  w.finally([&, g, stop, end] {
    if (shared) shared.unlock();
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    delete g;
    delete stop;
    delete end;
  });
}

// One thread does it all, so that each of its looks has to be a new one.
void one_after_the_other(world& w) {
  auto* const g = new guarded;
  auto* const stops = new std::array<stop_source, 2>;
  auto* const ends = new std::array<ended, 2>;
  std::atomic<int> done{0};
  w.thread([&, g, stops, ends] {
    auto alone = g->door.try_lock();
    writes_unless(*g, (*stops)[0], (*ends)[0]);
    (*stops)[0].request_stop();
    alone.unlock();
    auto shared = g->door.try_lock_shared();
    writes_unless(*g, (*stops)[1], (*ends)[1]);
    reads(*g, &done);
    testing::check(g->door.waiters_approx() == 2 && g->door.held(), "two wait");
    (*stops)[1].request_stop();
    testing::check(done.load(rlx) == 1, "the reader behind got in");
    testing::check(g->door.held(), "by a reader");
    shared.unlock();
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
  });
  w.finally([g, stops, ends] {
    delete g;
    delete stops;
    delete ends;
  });
}

// A writer leaves and a reader that stays gets in; the writer behind it gives up. Who ends its wait
// has to see that the first writer is gone.
detached reads_on(guarded& g, async_shared_mutex::shared_guard& held) {
  held = co_await g.door.lock_shared();
}
void first_writer_is_gone(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  std::atomic<int> done{0};
  async_shared_mutex::shared_guard shared;
  auto alone = g->door.try_lock();
  reads_on(*g, shared);
  w.thread([&] { alone.unlock(); });
  w.thread([&, g, stop, end] {
    writes_unless(*g, *stop, *end);
    reads(*g, &done);
    stop->request_stop();
  });
  w.finally([&, g, stop, end] {
    testing::check(done.load(rlx) == 1, "the reader behind got in");
    shared.unlock();
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    delete g;
    delete stop;
    delete end;
  });
}

// Two that wait, each called off at any moment or not at all.
void two_give_up(world& w) {
  auto* const g = new guarded;
  auto* const stops = new std::array<stop_source, 2>;
  auto* const ends = new std::array<ended, 2>;
  auto first = g->door.try_lock();
  writes_unless(*g, (*stops)[0], (*ends)[0]);
  reads_unless(*g, (*stops)[1], (*ends)[1]);
  w.thread([&] { first.unlock(); });
  w.interruption([stops] { (*stops)[0].request_stop(); });
  w.interruption([stops] { (*stops)[1].request_stop(); });
  w.finally([&, g, stops, ends] {
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    testing::check((*ends)[0].get() == of(g->written == 1 ? wait_status::acquired
                                                          : wait_status::cancelled),
                   "who was in was told so");
    w.outcome(g->written, (*ends)[1].get() == of(wait_status::acquired));
    delete g;
    delete stops;
    delete ends;
  });
}

// The stop comes while the coroutine is about to wait.
void stopped_at_any_time(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  w.thread([g] { write_blocking(*g); });
  w.thread([g, stop, end] { writes_unless(*g, *stop, *end); });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&, g, stop, end] {
    const bool entered = end->get() == of(wait_status::acquired);
    testing::check(g->written == (entered ? 2 : 1), "in, or told so");
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    w.outcome(entered);
    delete g;
    delete stop;
    delete end;
  });
}

// A thread waits until a deadline to write; a reader comes meanwhile. The one who is in leaves, or
// stays: then only the thread that gives up can let the reader in.
void thread_gives_up(world& w, bool leaves, bool comes) {
  auto* const g = new guarded;
  std::atomic<int> done{0};
  auto first = g->door.try_lock_shared();
  w.thread([g] {
    const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    const auto held = g->door.lock_blocking_until(soon);
    testing::check(held.status() == (held ? wait_status::acquired : wait_status::timed_out),
                   "in, or told so");
    if (held) ++g->written;
  });
  if (comes) w.thread([&, g] { reads(*g, &done); });
  if (leaves) w.thread([&] { const auto gone = std::move(first); });
  w.finally([&, g, comes] {
    testing::check(done.load(rlx) == (comes ? 1 : 0), "the reader got in");
    first = {};
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    w.outcome(g->written);
    delete g;
  });
}

// ---- closed, destroyed --------------------------------------------------------------------------

void closed_meanwhile(world& w) {
  auto* const g = new guarded;
  auto* const never = new stop_source;
  auto* const ends = new std::array<ended, 2>;
  w.thread([g, ends] {
    const auto held = g->door.lock_blocking();
    (*ends)[0].set(held.status());
    if (held) ++g->written;
  });
  w.thread([g, never, ends] { writes_unless(*g, *never, (*ends)[1]); });
  w.thread([g] { g->door.close(); });
  w.finally([&, g, never, ends] {
    int in = 0;
    for (const ended& end : *ends) {
      if (end.get() == of(wait_status::acquired)) {
        ++in;
      } else {
        testing::check(end.get() == of(wait_status::closed), "in, or told so");
      }
    }
    testing::check(g->written == in, "who was in was told so");
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    w.outcome(in);
    delete g;
    delete never;
    delete ends;
  });
}

// Both at once: the wait ends in one of the two ways.
void closed_and_stopped(world& w) {
  auto* const g = new guarded;
  auto* const stop = new stop_source;
  auto* const end = new ended;
  auto first = g->door.try_lock_shared();
  writes_unless(*g, *stop, *end);
  w.thread([&] { first.unlock(); });
  w.thread([g] { g->door.close(); });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&, g, stop, end] {
    testing::check(g->written == (end->get() == of(wait_status::acquired) ? 1 : 0),
                   "who was in was told so");
    testing::check(!g->door.held() && g->door.waiters_approx() == 0, "free at the end");
    w.outcome(end->get());
    delete g;
    delete stop;
    delete end;
  });
}

support::owned waits_to_write(guarded& g) {
  const auto held = co_await g.door.lock();
  ++g.written;
}

// A writer that waits for a reader is destroyed while others come and go: the one behind enters.
void destroyed_meanwhile(world& w) {
  auto* const g = new guarded;
  std::atomic<int> done{0};
  auto first = g->door.try_lock_shared();
  const support::owned waiting = waits_to_write(*g);
  w.thread([waiting] { waiting.handle.destroy(); });
  w.threads(2, [&, g] { reads(*g, &done); });
  w.finally([&, g] {
    testing::check(done.load(rlx) == 2, "the readers behind got in");
    testing::check(g->written == 0, "no writer got in");
    first.unlock();
    delete g;
  });
}

// ---- downgrade, bounds --------------------------------------------------------------------------

detached writes_then_reads(guarded& g) {
  auto alone = co_await g.door.lock();
  g.written = 7;
  const auto shared = alone.downgrade();
  testing::check(g.written == 7, "no writer in between");
}
detached writes_seven(guarded& g) {
  const auto held = co_await g.door.lock();
  testing::check(g.written % 7 == 0, "reads");
  g.written = 14;
}

void downgrades(world& w) {
  auto* const g = new guarded;
  std::atomic<int> done{0};
  w.thread([g] { writes_then_reads(*g); });
  w.thread([&, g] { reads(*g, &done); });
  w.thread([g] { writes_seven(*g); });
  w.finally([&, g] {
    testing::check(done.load(rlx) == 1, "the reader got in");
    w.outcome(g->written);
    delete g;
  });
}

// Readers that come after a downgrade see what the writer did.
void downgrades_before_newcomers(world& w) {
  auto* const g = new guarded;
  auto alone = g->door.try_lock();
  w.thread([&, g] {
    g->written = 7;
    const auto shared = alone.downgrade();
  });
  w.thread([g] {
    if (const auto held = g->door.try_lock_shared()) testing::check(g->written == 7, "reads");
  });
  w.finally([g] { delete g; });
}

// Others queue or close the mutex meanwhile: what they change in the word stays.
void downgrades_beside(world& w, bool closing) {
  auto* const g = new guarded;
  w.thread([g] {
    if (auto alone = g->door.try_lock()) const auto shared = alone.downgrade();
  });
  w.thread([g, closing] {
    if (closing) {
      g->door.close();
    } else {
      writes(*g);
    }
  });
  w.finally([g, closing] {
    testing::check(g->written == (closing ? 0 : 1), "the writer behind got in");
    testing::check(g->door.try_lock().owns_lock() != closing, "it is free, or closed");
    delete g;
  });
}

template <class... Stop>
detached tells(async_shared_mutex& door, ended& end, Stop... stop) {
  const auto held = co_await door.lock(stop...);
  end.set(held.status());
}
void one_may_wait(world& w) {
  auto* const door = new async_shared_mutex(max_waiters{1});
  std::array<ended, 2> ends;
  auto first = door->try_lock();
  w.thread([&] { first.unlock(); });
  for (ended& end : ends) {
    w.thread([door, &end] { tells(*door, end); });
  }
  w.finally([&, door] {
    int refused = 0;
    for (const ended& end : ends) refused += end.get() == of(wait_status::overloaded) ? 1 : 0;
    testing::check(refused <= 1, "one is in and one may wait");
    delete door;
    w.outcome(refused);
  });
}

// One thread queues twice; between, another thread ends the first wait.
void room_again(world& w) {
  auto* const door = new async_shared_mutex(max_waiters{1});
  auto* const stop = new stop_source;
  std::array<ended, 2> ends;
  auto alone = door->try_lock();
  w.thread([&, door, stop] {
    tells(*door, ends[0], stop->get_token());
    while (ends[0].get() == 0) testing::spin_hint();
    tells(*door, ends[1]);
    testing::check(ends[1].get() == 0, "there is room for one again");
  });
  w.thread([stop] { stop->request_stop(); });
  w.finally([&, door, stop] {
    alone.unlock();
    delete door;
    delete stop;
  });
}

void second_of_one_thread(world& w) {
  auto* const door = new async_shared_mutex(max_waiters{1});
  std::array<ended, 2> ends;
  w.thread([&, door] {
    const auto first = door->try_lock();
    for (ended& end : ends) tells(*door, end);
    testing::check(ends[1].get() == of(wait_status::overloaded), "one may wait");
  });
  w.finally([door] { delete door; });
}

void tries(world& w) {
  auto* const g = new guarded;
  w.thread([g] {
    if (const auto held = g->door.try_lock()) ++g->written;
  });
  w.threads(2, [g] {
    if (const auto held = g->door.try_lock_shared()) testing::check(g->written >= 0, "reads");
  });
  w.finally([&, g] {
    w.outcome(g->written);
    delete g;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// A textbook lock: a count and a flag, and who waits in the order of arrival; threads only.
class textbook {
public:
  explicit textbook(bool forgets) : forgets_(forgets) {}

  static constexpr std::uint32_t writer = 1;
  static constexpr std::uint32_t reader = 2;

  // Returns: true if it is in; else it is listed.
  bool enters(detail::waiter& who) {
    locked waiting(queue_);
    if (waiting.empty() && may_enter(who)) {
      come(who);
      return true;
    }
    waiting.enlist(who);
    return false;
  }
  void leave(std::uint32_t who) {
    detail::procession next;
    {
      locked waiting(queue_);
      if (who == writer) {
        writing_ = false;
      } else {
        --readers_;
      }
      let_in(waiting, next);
    }
    next.wake();
  }
  bool gives_up(detail::waiter& who) {
    detail::procession next;
    {
      locked waiting(queue_);
      if (!waiting.remove(who)) return false;
      if (!forgets_) let_in(waiting, next);
    }
    next.wake();
    return true;
  }

private:
  using locked = detail::wait_queue::locked;
  bool may_enter(const detail::waiter& who) const {
    return !writing_ && (who.amount == reader || readers_ == 0);
  }
  void come(const detail::waiter& who) {
    if (who.amount == writer) {
      writing_ = true;
    } else {
      ++readers_;
    }
  }
  void let_in(locked& waiting, detail::procession& next) {
    while (!waiting.empty() && may_enter(*waiting.first())) {
      detail::waiter& head = waiting.pop_front();
      come(head);
      next.add(head);
    }
  }

  const bool forgets_;  // those behind a writer that gives up at the head
  detail::wait_queue queue_;
  int readers_ = 0;
  bool writing_ = false;
};

// A reader is in and stays; a writer gives up; a reader comes.
void gives_up_at_the_head(world& w, bool forgets) {
  auto* const door = new textbook(forgets);
  detail::thread_waiter first;
  first.amount = textbook::reader;
  door->enters(first);
  w.thread([door] {
    detail::thread_waiter self;
    self.amount = textbook::writer;
    if (door->enters(self)) return door->leave(textbook::writer);
    testing::check(door->gives_up(self), "nobody lets it in");
  });
  w.thread([door] {
    detail::thread_waiter self;
    self.amount = textbook::reader;
    if (!door->enters(self)) self.wait();
    door->leave(textbook::reader);
  });
  w.finally([door] { delete door; });
}

// Counts down first and looks for the queue then: somebody may have left it, and destroyed all.
class hasty {
public:
  static constexpr int writer = 1;
  static constexpr int queued = 2;
  static constexpr int reader = 4;

  void leave_as_reader() {
    if (word_.fetch_sub(reader, ar) != (reader | queued)) return;
    detail::wait_queue::locked waiting(queue_);
    if (!waiting.empty()) waiting.pop_front().wake();
  }
  void queue_up(detail::waiter& who) {
    detail::wait_queue::locked waiting(queue_);
    word_.fetch_or(queued, ar);
    waiting.enlist(who);
  }
  bool gives_up(detail::waiter& who) {
    detail::wait_queue::locked waiting(queue_);
    word_.fetch_and(~queued, ar);
    return waiting.remove(who);
  }
  bool try_lock() {
    int none = 0;
    return word_.compare_exchange_strong(none, writer, ar, rlx);
  }

private:
  std::atomic<int> word_{reader};
  detail::wait_queue queue_;
};

void looks_too_late(world& w) {
  auto* const door = new hasty;
  w.thread([door] { door->leave_as_reader(); });
  w.thread([door] {
    detail::thread_waiter self;
    door->queue_up(self);
    if (!door->gives_up(self)) return self.wait();
    while (!door->try_lock()) testing::spin_hint();
    delete door;  // nobody else is in
  });
  w.finally([] {});
}

constexpr user writer = &write_blocking;
constexpr user reader = &read_blocking;
constexpr user writing = &write_detached;
constexpr user reading = &read_detached;

}  // namespace

TEST_CASE("async_shared_mutex: a writer is alone, threads") {
  proved([](world& w) { sections(w, {writer, writer}, 2); });
  proved([](world& w) { sections(w, {writer, reader}, 1); });
}
TEST_CASE("async_shared_mutex: a writer is alone, three threads", "[.deep]") {
  proved([](world& w) { sections(w, {writer, reader, reader}, 1); });
  proved([](world& w) { sections(w, {writer, writer, reader}, 2); });
}

TEST_CASE("async_shared_mutex: a writer is alone, coroutines of threads that do not wait") {
  proved([](world& w) { sections(w, {writing, reading, reading}, 1); });
  proved([](world& w) { sections(w, {writing, writing, reading}, 2); });
}

TEST_CASE("async_shared_mutex: who is done with it last may destroy it") {
  proved([](world& w) { last_writer_destroys(w, 2); });
  proved([](world& w) { last_writer_destroys(w, 3); });
  proved([](world& w) { last_coroutine_destroys(w, 1, 2); });
  proved([](world& w) { last_user_destroys(w, {writer, reader}); });
}

TEST_CASE("async_shared_mutex: a writer that gives up leaves no reader behind") {
  CHECK(joined(seen(proved(writer_gives_up))) == "0, 1");
  proved(reader_stays);
  proved(readers_see_the_writer_before);
  proved(readers_see_a_writer_that_met_nobody);
  proved(first_writer_is_gone);
  proved(one_after_the_other);
}

TEST_CASE("async_shared_mutex: a stop comes at any time and ends the wait or comes too late") {
  CHECK(joined(seen(proved(stopped_at_any_time))) == "0, 1");
  CHECK(joined(seen(proved(two_give_up))) == "0 0, 0 1, 1 0, 1 1");
}

TEST_CASE("async_shared_mutex: a deadline ends the wait of a thread or comes too late") {
  CHECK(joined(seen(proved([](world& w) { thread_gives_up(w, true, false); }))) == "0, 1");
  CHECK(joined(seen(proved([](world& w) { thread_gives_up(w, false, true); }))) == "0");
}
TEST_CASE("async_shared_mutex: a deadline of a thread, one who leaves, one behind", "[.deep]") {
  CHECK(joined(seen(proved([](world& w) { thread_gives_up(w, true, true); }))) == "0, 1");
}

TEST_CASE("async_shared_mutex: who waits when it is closed is told so") {
  CHECK(joined(seen(proved(closed_meanwhile))) == "0, 1, 2");
  CHECK(joined(seen(proved(closed_and_stopped))) == "1, 2, 4");
}

TEST_CASE("async_shared_mutex: a suspended coroutine leaves when it is destroyed") {
  proved(destroyed_meanwhile);
}

TEST_CASE("async_shared_mutex: a writer goes on as a reader") {
  proved(downgrades);
  proved(downgrades_before_newcomers);
  proved([](world& w) { downgrades_beside(w, true); });
  proved([](world& w) { downgrades_beside(w, false); });
}

TEST_CASE("async_shared_mutex: no more may wait than the bound says") {
  CHECK(joined(seen(proved(one_may_wait))) == "0, 1");
  proved(second_of_one_thread);
  proved(room_again);
}

TEST_CASE("async_shared_mutex: try_lock and try_lock_shared see what the last owner did") {
  CHECK(joined(seen(proved(tries))) == "0, 1");
}

TEST_CASE("async_shared_mutex: a reader left behind a writer that gives up is found") {
  const auto report = failing([](world& w) { gives_up_at_the_head(w, true); });
  CHECK(report.failure.rfind("deadlock", 0) == 0);
  proved([](world& w) { gives_up_at_the_head(w, false); });
}

TEST_CASE("async_shared_mutex: who counts down and looks for the queue then is found") {
  failing(looks_too_late);
}

TEST_CASE("async_shared_mutex: mutants", "[.mutants]") {
  mutants({one_after_the_other, second_of_one_thread, room_again, joins_readers, reader_stays,
           readers_see_the_writer_before, readers_see_a_writer_that_met_nobody,
           first_writer_is_gone, downgrades_before_newcomers, two_give_up, tries, one_may_wait,
           closed_and_stopped, closed_meanwhile,
           [](world& w) { downgrades_beside(w, true); },
           [](world& w) { downgrades_beside(w, false); },
           [](world& w) { sections(w, {writing, reading, reading}, 1); },
           [](world& w) { sections(w, {writer, reader}, 1); },
           [](world& w) { thread_gives_up(w, false, true); }});
}
