// SPDX-License-Identifier: BSL-1.0
// The waiting primitives in every execution: exclusion, no lost wake-up, early destruction.

#include "testing/front.hpp"

#include <interlock/detail/futex_mutex.hpp>
#include <interlock/detail/waiter.hpp>

#include <atomic>
#include <coroutine>
#include <mutex>
#include <utility>

#include "support/detached.hpp"

namespace detail = interlock::detail;
using testing::world;

namespace {

// ---- futex_mutex --------------------------------------------------------------------------------

// Drepper's first version: one bit says that it is taken, and each unlock wakes one.
class two_state_mutex {
public:
  void lock() noexcept {
    while (word_.exchange(1, acq) != 0) detail::park(word_, 1);
  }
  void unlock() noexcept {
    if (word_.exchange(0, rel) == 2) detail::unpark_one(&word_);  // who parked did not say so
  }

private:
  detail::park_word word_{0};
};

template <class Mutex>
void sections(world& w, int threads, int rounds) {
  auto* const mutex = new Mutex;
  int inside = 0;
  w.threads(static_cast<unsigned>(threads), [&inside, mutex, rounds] {
    for (int i = 0; i < rounds; ++i) {
      mutex->lock();
      ++inside;  // a plain object: a race if two are inside
      mutex->unlock();
    }
  });
  w.finally([&, mutex] {
    testing::check(inside == threads * rounds, "every section was run");
    delete mutex;
  });
}

constexpr auto futex_sections = &sections<detail::futex_mutex>;

// The last one to leave destroys what holds the mutex: an unlock touches it no more once it is free.
void last_section_destroys(world& w, int threads) {
  struct shared {
    detail::futex_mutex mutex;
    int left;
  };
  auto* const s = new shared{{}, threads};
  for (int t = 0; t < threads; ++t) {
    w.thread([s] {
      std::unique_lock lock(s->mutex);
      const bool last = --s->left == 0;
      lock.unlock();
      if (last) delete s;
    });
  }
  w.finally([] {});
}

void tries(world& w) {
  detail::futex_mutex mutex;
  int inside = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&] {
      if (!mutex.try_lock()) return;
      ++inside;
      mutex.unlock();
    });
  }
  w.finally([&] { testing::check(inside >= 1, "the first one got it"); });
}

// ---- thread_waiter ------------------------------------------------------------------------------

void hand_over(world& w) {
  struct order {
    int goods = 0;
  };
  auto* const mine = new order;
  std::atomic<detail::waiter*> slot{nullptr};
  w.thread([&, mine] {
    detail::thread_waiter here;
    slot.store(&here, rel);
    here.wait();
    testing::check(mine->goods == 7, "what the waker did is visible");
    delete mine;
  });
  w.thread([&, mine] {
    detail::waiter* node = nullptr;
    while ((node = slot.load(acq)) == nullptr) testing::spin_hint();
    mine->goods = 7;
    node->wake();
  });
  w.finally([] {});
}

// Looks at the word and parks on another one, so that a wake-up between the two is lost.
void parks_without_a_look(world& w) {
  std::atomic<bool> done{false};
  detail::park_word bell{0};
  w.thread([&] {
    while (!done.load(acq)) detail::park(bell, 0);
  });
  w.thread([&] {
    done.store(true, rel);
    detail::unpark_one(&bell);
  });
  w.finally([] {});
}

// ---- lists of waiters ---------------------------------------------------------------------------

void queue_up(std::atomic<detail::waiter*>& stack, detail::waiter& node) {
  node.next = stack.load(rlx);
  while (!stack.compare_exchange_weak(node.next, &node, rel, rlx)) {
  }
}

struct queueing {  // co_await: queues
  std::atomic<detail::waiter*>& stack;
  detail::coroutine_waiter node{};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    node.continuation = self;
    queue_up(stack, node);
  }
  void await_resume() const noexcept {}
};

support::detached waits(std::atomic<detail::waiter*>& stack, int& went_on) {
  co_await queueing{stack};
  ++went_on;
}

// A thread and a coroutine of another thread wait in one list; a third wakes whoever is there until
// both have gone on. Each node is gone when its owner has.
void wakes_a_list(world& w) {
  auto* const stack = new std::atomic<detail::waiter*>(nullptr);
  int by_thread = 0;
  int by_coroutine = 0;
  w.thread([&by_thread, stack] {
    detail::thread_waiter here;
    queue_up(*stack, here);
    here.wait();
    ++by_thread;
  });
  w.thread([&by_coroutine, stack] { waits(*stack, by_coroutine); });
  w.thread([stack] {
    for (int woken = 0; woken < 2;) {
      detail::waiter* all = nullptr;
      while ((all = stack->load(rlx)) == nullptr) testing::spin_hint();
      all = detail::reverse(stack->exchange(nullptr, acq));
      for (detail::waiter* each = all; each != nullptr; each = each->next) ++woken;
      detail::wake_all(all);
    }
    delete stack;
  });
  w.finally([&] { testing::check(by_thread == 1 && by_coroutine == 1, "both went on, once"); });
}

// Reads on in a node that it has woken.
void reads_a_woken_node(world& w) {
  auto* const stack = new std::atomic<detail::waiter*>(nullptr);
  w.thread([stack] {
    auto* const here = new detail::thread_waiter;
    queue_up(*stack, *here);
    here->wait();
    delete here;
  });
  w.thread([stack] {
    while (stack->load(rlx) == nullptr) testing::spin_hint();
    detail::waiter* each = stack->exchange(nullptr, acq);
    for (; each != nullptr; each = each->next) each->wake();
    delete stack;
  });
  w.finally([] {});
}

}  // namespace

TEST_CASE("futex_mutex excludes and loses no wake-up: two threads, two sections each") {
  proved([](world& w) { futex_sections(w, 2, 1); });
  proved([](world& w) { futex_sections(w, 2, 2); });
}

TEST_CASE("futex_mutex excludes and loses no wake-up: three threads") {
  proved([](world& w) { futex_sections(w, 3, 1); });
}

TEST_CASE("futex_mutex excludes and loses no wake-up: four threads", "[.deep]") {
  proved([](world& w) { futex_sections(w, 4, 1); });
}

TEST_CASE("futex_mutex excludes and loses no wake-up: three threads with two sections", "[.deep]") {
  proved([](world& w) { futex_sections(w, 3, 2); });
}

TEST_CASE("futex_mutex loses no wake-up if park returns for no reason") {
  testing::options how;
  how.spurious_wakeups = 1;
  proved([](world& w) { futex_sections(w, 2, 1); }, how);
}

// The model tests of what stands on it take a wait as one step.
TEST_CASE("futex_mutex is a mutex and no more if waits are one step") {
  CHECK(proved([](world& w) { futex_sections(w, 2, 2); }, whole_waits()).executions == 6 / 2);
  CHECK(proved([](world& w) { futex_sections(w, 3, 1); }, whole_waits()).executions == 6 / 6);
  CHECK(proved([](world& w) { futex_sections(w, 3, 2); }, whole_waits()).executions == 90 / 6);
}

TEST_CASE("futex_mutex: the last section may end in its destruction") {
  proved([](world& w) { last_section_destroys(w, 2); });
  proved([](world& w) { last_section_destroys(w, 3); });
}

TEST_CASE("futex_mutex: try_lock sees what the last section did") { proved(tries); }

TEST_CASE("thread_waiter: wait returns after wake, sees what came before it, and may destroy") {
  proved(hand_over);
  testing::options how;
  how.spurious_wakeups = 1;
  proved(hand_over, how);
}

TEST_CASE("wake_all: threads and coroutines go on, and their nodes may be gone at once") {
  proved(wakes_a_list);
}

TEST_CASE("waiting: a mutex that forgets who parked is found") {
  const auto report = failing([](world& w) { sections<two_state_mutex>(w, 2, 1); });
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("waiting: to park on a word that says nothing of the reason is found") {
  const auto report = failing(parks_without_a_look);
  CHECK(report.failure.rfind("deadlock", 0) == 0);
}

TEST_CASE("waiting: to read on in a node that was woken is found") { failing(reads_a_woken_node); }

TEST_CASE("waiting: mutants", "[.mutants]") {
  mutants({tries, hand_over, [](world& w) { futex_sections(w, 2, 1); },
           [](world& w) { futex_sections(w, 2, 2); }});
}
