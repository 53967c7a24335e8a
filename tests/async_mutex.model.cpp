// SPDX-License-Identifier: BSL-1.0
// async_mutex in every execution: exclusion, hand-over in order, no lost waiter, early destruction.

#include "testing/front.hpp"

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "testing/last_user.hpp"

using interlock::async_mutex;
using interlock::sync_wait;
using interlock::task;
using testing::world;

namespace {

struct guarded {
  async_mutex door;
  int inside = 0;  // plain: a race if two are inside
};
using shared_door = used_by<guarded>;
using user = void (*)(guarded&);

void blocking_section(guarded& g) {
  const auto held = g.door.lock_blocking();
  ++g.inside;
}

task<> section(guarded& g) {
  const auto held = co_await g.door.lock();
  ++g.inside;
}
void coroutine_section(guarded& g) { sync_wait(section(g)); }

// What they have in common is destroyed by whoever is done last.
void sections(world& w, std::vector<user> users) {
  const int all = static_cast<int>(users.size());
  auto* const shared = shared_door::make(all);
  int saw_all = 0;
  for (const user enter : users) {
    w.thread([&saw_all, shared, enter, all] {
      enter(**shared);
      {
        const auto held = (*shared)->door.lock_blocking();
        if ((*shared)->inside == all) ++saw_all;
      }
      shared->leave();
    });
  }
  w.finally([&] { testing::check(saw_all >= 1, "what one owner did is visible to the next"); });
}

// Without the look at the end, for the longer ones: the body destroys the mutex. Users that are alike
// stand together.
void plain_sections(world& w, std::vector<user> users, int rounds) {
  auto* const g = new guarded;
  for (std::size_t i = 0, n = 0; i < users.size(); i += n) {
    for (n = 1; i + n < users.size() && users[i + n] == users[i];) ++n;
    w.threads(static_cast<unsigned>(n), [g, enter = users[i], rounds] {
      for (int k = 0; k < rounds; ++k) enter(*g);
    });
  }
  w.finally([g, all = static_cast<int>(users.size()) * rounds] {
    testing::check(g->inside == all, "every section was run");
    delete g;
  });
}

// The owner that finds itself the last one destroys the mutex after its unlock.
void last_owner_destroys(world& w, int users) {
  auto* const g = new guarded;
  for (int t = 0; t < users; ++t) {
    w.thread([g, users] {
      bool last = false;
      {
        const auto held = g->door.lock_blocking();
        last = ++g->inside == users;
      }
      if (last) delete g;
    });
  }
  w.finally([] {});
}

task<bool> coroutine_is_last(guarded& g, int users) {
  const auto held = co_await g.door.lock();
  co_return ++g.inside == users;
}

void last_coroutine_destroys(world& w, int users) {
  auto* const g = new guarded;
  for (int t = 0; t < users; ++t) {
    w.thread([g, users] {
      if (sync_wait(coroutine_is_last(*g, users))) delete g;
    });
  }
  w.finally([] {});
}

// One thread's coroutines queue one behind the other, perhaps while another thread owns the mutex.
support::detached logs(guarded& g, std::vector<int>& log, int who) {
  const auto held = co_await g.door.lock();
  ++g.inside;
  log.push_back(who);
}

void in_order(world& w) {
  auto* const g = new guarded;
  std::vector<int> log;
  log.reserve(4);
  atomic<int> queued{0};
  w.thread([&, g] {
    const auto held = g->door.lock_blocking();
    ++g->inside;
  });
  w.thread([&, g] {
    logs(*g, log, 1);
    logs(*g, log, 2);
    queued.store(1, rel);
  });
  w.thread([&, g] {
    if (queued.load(acq) == 1) logs(*g, log, 3);
  });
  w.finally([&, g] {
    testing::check(log.size() >= 2 && log[0] == 1 && log[1] == 2, "in the order of their calls");
    testing::check(g->inside == static_cast<int>(log.size()) + 1, "every section was run");
    delete g;
  });
}

// Nobody blocks: each thread starts a coroutine, which goes on wherever the mutex is handed to it.
support::detached detached_section(guarded& g) {
  const auto held = co_await g.door.lock();
  ++g.inside;
}

void nobody_blocks(world& w, int threads, int rounds) {
  auto* const g = new guarded;
  for (int t = 0; t < threads; ++t) {  // alike, but the explorer falls back without symmetry here
    w.thread([g, rounds] {
      for (int i = 0; i < rounds; ++i) detached_section(*g);
    });
  }
  w.finally([g, all = threads * rounds] {
    testing::check(g->inside == all, "every section was run");
    delete g;
  });
}

// A section throws: the mutex is free again.
struct broken {};

void throws_inside(world& w) {
  auto* const shared = shared_door::make(2);
  for (int t = 0; t < 2; ++t) {
    w.thread([shared, t] {
      guarded& g = **shared;
      bool thrown = false;
      try {
        if (t == 0) {
          sync_wait(g.door.run_exclusive([&g] {
            ++g.inside;
            throw broken();
          }));
        } else {
          sync_wait(g.door.run_exclusive([&g]() -> task<> {
            ++g.inside;
            throw broken();
            co_return;
          }));
        }
      } catch (const broken&) {
        thrown = true;
      }
      testing::check(thrown, "the exception reaches the caller");
      shared->leave();
    });
  }
  w.finally([] {});
}

void tries(world& w, bool exclusive) {
  auto* const shared = shared_door::make(2);
  bool got_it = false;
  w.thread([shared] {
    blocking_section(**shared);
    shared->leave();
  });
  w.thread([&got_it, shared, exclusive] {
    guarded& g = **shared;
    if (exclusive) {
      got_it = g.door.try_run_exclusive([&g] { ++g.inside; });
    } else if (const auto held = g.door.try_lock()) {
      ++g.inside;
      got_it = true;
    }
    shared->leave();
  });
  w.finally([&] { w.outcome(got_it); });
}

// Who counts is busy with the line, so an unlock may leave the mutex to it.
void counts_who_waits(world& w) {
  auto* const g = new guarded;
  auto owner = g->door.try_lock();
  detached_section(*g);
  testing::check(g->door.waiters_approx() == 1, "it waits, and stands in the line now");
  w.thread([&] { owner.unlock(); });
  w.thread([g] { detached_section(*g); });
  w.thread([g] { testing::check(g->door.waiters_approx() <= 2, "as many as there are"); });
  w.finally([g] {
    testing::check(g->inside == 2 && !g->door.held(), "every section was run");
    testing::check(g->door.waiters_approx() == 0, "nobody waits");
    delete g;
  });
}

// A guard that was asked, or that owns, is only read by who asks it.
void many_ask(world& w) {
  async_mutex door;
  const auto held = door.try_lock();
  const auto refused = door.try_lock();
  testing::check(!refused, "the first one owns it");
  w.threads(2, [&] { testing::check(held.owns_lock() && !refused, "as before"); });
  w.finally([] {});
}

// A guard is moved to another thread, which unlocks; a coroutine waits for it meanwhile.
void guard_moves(world& w) {
  auto* const g = new guarded;
  async_mutex::guard moved = g->door.try_lock();
  atomic<int> ready{0};
  w.thread([&, g] {
    ++g->inside;
    ready.store(1, rel);
  });
  w.thread([&] {
    while (ready.load(acq) == 0) testing::spin_hint();
    const async_mutex::guard mine = std::move(moved);
  });
  w.thread([&, g] { coroutine_section(*g); });
  w.finally([g] {
    testing::check(g->inside == 2, "both were inside");
    delete g;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// Frees the mutex without a look whether somebody has queued.
class forgetful_mutex {
public:
  bool take_or_queue(interlock::detail::waiter& node) {
    std::uintptr_t seen = state_.load(rlx);
    while (true) {
      if (seen == 1) {
        if (state_.compare_exchange_weak(seen, 0, acq, rlx)) return true;
        continue;
      }
      node.next = reinterpret_cast<interlock::detail::waiter*>(seen);
      if (state_.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(&node), rel, rlx)) {
        return false;
      }
    }
  }
  void lock() {
    interlock::detail::thread_waiter node;
    if (!take_or_queue(node)) node.wait();
  }
  void unlock() {
    if (queue_ == nullptr) {
      const std::uintptr_t seen = state_.load(acq);
      if (seen == 0) {
        state_.store(1, rel);  // somebody may have queued since the look
        return;
      }
      state_.store(0, rlx);
      queue_ = interlock::detail::reverse(reinterpret_cast<interlock::detail::waiter*>(seen));
    }
    interlock::detail::waiter* const next = queue_;
    queue_ = next->next;
    next->wake();
  }

private:
  std::atomic<std::uintptr_t> state_{1};
  interlock::detail::waiter* queue_ = nullptr;
};

void forgets_a_waiter(world& w) {
  auto* const door = new forgetful_mutex;
  int inside = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&inside, door] {
      door->lock();
      ++inside;
      door->unlock();
    });
  }
  w.finally([door] { delete door; });
}

// The last owner destroys a mutex whose unlock touches it after the hand-over.
void touches_after_wake(world& w) {
  struct late {
    async_mutex door;
    int users = 2;
    int unlocks = 0;
  };
  auto* const s = new late;
  for (int t = 0; t < 2; ++t) {
    w.thread([s] {
      auto held = s->door.lock_blocking();
      const bool last = --s->users == 0;
      held.unlock();
      ++s->unlocks;
      if (last) delete s;
    });
  }
  w.finally([] {});
}

// Explores what is reached with so many old values, late stores and other choices.
void part(void (*body)(world&), unsigned departures) {
  testing::options how;
  how.departures = departures;
  const testing::report report = testing::explore(how, body);
  CAPTURE(report.text());
  CHECK(report.failure.empty());
}

constexpr user thread = &blocking_section;
constexpr user coroutine = &coroutine_section;

}  // namespace

TEST_CASE("async_mutex: at most one guard owns it, two threads") {
  proved([](world& w) { plain_sections(w, {thread, thread}, 1); });
}
TEST_CASE("async_mutex: what one owner did is visible to the next, two threads") {
  proved([](world& w) { sections(w, {thread, thread}); }, whole_waits());
}
// Threads compete, which has more executions than anybody can see.
TEST_CASE("async_mutex: at most one guard owns it, three threads, and two with two sections") {
  part([](world& w) { plain_sections(w, {thread, thread, thread}, 1); }, 4);
  part([](world& w) { plain_sections(w, {thread, thread}, 2); }, 5);
}

TEST_CASE("async_mutex: at most one guard owns it, coroutines and threads") {
  proved([](world& w) { sections(w, {coroutine, coroutine}); }, whole_waits());
  proved([](world& w) { plain_sections(w, {coroutine, coroutine}, 2); }, whole_waits());
  proved([](world& w) { plain_sections(w, {coroutine, coroutine, coroutine}, 1); }, whole_waits());
  proved([](world& w) { plain_sections(w, {thread, coroutine}, 1); });
  proved([](world& w) { plain_sections(w, {thread, coroutine, coroutine}, 1); }, whole_waits());
}

TEST_CASE("async_mutex: coroutines of threads that do not wait") {
  proved([](world& w) { nobody_blocks(w, 3, 1); });
  proved([](world& w) { nobody_blocks(w, 2, 2); });
}

TEST_CASE("async_mutex: four threads with a coroutine each", "[.deep]") {
  proved([](world& w) { nobody_blocks(w, 4, 1); });
}
TEST_CASE("async_mutex: three threads with two coroutines each", "[.deep]") {
  proved([](world& w) { nobody_blocks(w, 3, 2); });
}
TEST_CASE("async_mutex: three threads with two sections each", "[.deep]") {
  proved([](world& w) { plain_sections(w, {thread, thread, thread}, 2); });
}
TEST_CASE("async_mutex: three coroutines with two sections each", "[.deep]") {
  proved([](world& w) { plain_sections(w, {coroutine, coroutine, coroutine}, 2); }, whole_waits());
}
TEST_CASE("async_mutex: four threads", "[.deep]") {
  proved([](world& w) { plain_sections(w, {thread, thread, thread, thread}, 1); });
}
TEST_CASE("async_mutex: four coroutines", "[.deep]") {
  proved([](world& w) { plain_sections(w, {coroutine, coroutine, coroutine, coroutine}, 1); },
         whole_waits());
}

TEST_CASE("async_mutex: the last owner may destroy it") {
  proved([](world& w) { last_owner_destroys(w, 2); });
  part([](world& w) { last_owner_destroys(w, 3); }, 2);
  proved([](world& w) { last_coroutine_destroys(w, 2); }, whole_waits());
  proved([](world& w) { last_coroutine_destroys(w, 3); }, whole_waits());
}

TEST_CASE("async_mutex: waiters get it in the order in which they queued") {
  proved(in_order, whole_waits());
}

TEST_CASE("async_mutex: a callable that throws inside run_exclusive leaves it unlocked") {
  proved(throws_inside, whole_waits());
}

TEST_CASE("async_mutex: try_lock and try_run_exclusive see what the last owner did") {
  for (const bool exclusive : {false, true}) {
    const auto report = proved([exclusive](world& w) { tries(w, exclusive); });
    CHECK(joined(seen(report)) == "0, 1");
  }
}

TEST_CASE("async_mutex: who waits is counted while it is unlocked") {
  proved(counts_who_waits, whole_waits());
}

TEST_CASE("async_mutex: many may ask one guard") {
  proved(many_ask);
}

TEST_CASE("async_mutex: a guard moves to another thread, which unlocks") {
  proved(guard_moves, whole_waits());
}

TEST_CASE("async_mutex: a mutex that forgets a waiter is found") {
  const auto report = failing(forgets_a_waiter);
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("async_mutex: who touches it after the hand-over is found") {
  failing(touches_after_wake);
}

TEST_CASE("async_mutex: mutants", "[.mutants]") {
  mutants({[](world& w) { nobody_blocks(w, 2, 2); },
           [](world& w) { plain_sections(w, {thread, thread}, 1); },
           [](world& w) { tries(w, false); }});
}
