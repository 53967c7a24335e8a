// SPDX-License-Identifier: BSL-1.0
// Mistakes that well-known libraries shipped, as small programs of our own with the same mistake.
// Each is found, as the kind of failure that it is; and its repair is proved.

#include "front.hpp"

#include <interlock/detail/parking.hpp>

using testing::world;

namespace {

// The body with the mistake fails like this; the repaired one has no failing execution.
template <class Body>
void caught(const char* failure, Body body) {
  const auto broken = failing([&](world& w) { body(w, false); });
  INFO(broken.text());
  CHECK(broken.failure.find(failure) != std::string::npos);
  proved([&](world& w) { body(w, true); });
}

// A thread that sleeps here until somebody wakes it: a wake-up that nobody sends is a deadlock.
class bed {
public:
  void sleep() {
    while (awake_.load(acq) == 0) testing::spin_hint();
  }
  void wake() { awake_.store(1, rel); }

private:
  atomic<int> awake_{0};
};

}  // namespace

// ---- one memory order too weak ------------------------------------------------------------------

namespace {
void latch(world& w, std::memory_order count_down) {
  plain<int> part[2] = {0, 0};
  atomic<int> left{2};
  atomic<int> open{0};
  for (int i = 0; i < 2; ++i) {
    w.thread([&, i, count_down] {
      part[i] = i + 1;
      if (left.fetch_sub(1, count_down) == 1) open.store(1, rel);
    });
  }
  w.thread([&] {
    while (open.load(acq) == 0) testing::spin_hint();
    testing::check(part[0] + part[1] == 3, "all parts are there");
  });
  w.finally([] {});
}
}  // namespace

TEST_CASE("folly Latch (d8ed9cd28): the last to count down knows nothing of the others") {
  caught("data race", [](world& w, bool fixed) { latch(w, fixed ? ar : rlx); });
}

TEST_CASE("folly fibers::Baton (1c320bc94): ready is read relaxed") {
  caught("data race", [](world& w, bool fixed) {
    plain<int> result{0};
    atomic<int> state{0};
    w.thread([&] {
      result = 7;
      state.exchange(1, ar);
    });
    w.thread([&, fixed] {
      if (state.load(fixed ? acq : rlx) == 1) testing::check(result == 7, "posted");
    });
    w.finally([] {});
  });
}

TEST_CASE("folly ConcurrentHashMap (015949ec0): a node is linked before it is made") {
  struct node {
    explicit node(int k) : key(k) {}
    plain<int> key;
    atomic<node*> next{nullptr};
  };
  const auto map = [](world& w, std::memory_order link, std::memory_order follow) {
    atomic<node*> bucket{nullptr};
    w.thread([&, link] { bucket.store(new node(5), link); });
    w.thread([&, follow] {
      for (node* n = bucket.load(follow); n != nullptr; n = n->next.load(follow)) {
        testing::check(n->key == 5, "the key is there");
      }
    });
    w.finally([&] { delete bucket.load(acq); });
  };
  caught("data race", [&](world& w, bool fixed) { map(w, fixed ? rel : rlx, acq); });
  caught("data race", [&](world& w, bool fixed) { map(w, rel, fixed ? acq : rlx); });
}

TEST_CASE("folly fibers::Semaphore (611cfd851): a token is given back relaxed") {
  caught("data race", [](world& w, bool fixed) {
    plain<int> guarded{0};
    atomic<int> tokens{1};
    for (int i = 0; i < 2; ++i) {
      w.thread([&, fixed] {
        int seen = tokens.load(rlx);
        while (seen == 0 || !tokens.compare_exchange_strong(seen, seen - 1, acq, rlx)) {
          testing::spin_hint();
          seen = tokens.load(rlx);
        }
        guarded = guarded + 1;
        seen = tokens.load(rlx);
        while (!tokens.compare_exchange_strong(seen, seen + 1, fixed ? rel : rlx, rlx)) {
        }
      });
    }
    w.finally([&] { testing::check(guarded == 2, "both had the token"); });
  });
}

TEST_CASE("folly coro::detachOnCancel (fe27f3930): the second to come frees the state") {
  struct shared_state {
    atomic<int> result{0};
    atomic<bool> first_came{false};
  };
  caught("free", [](world& w, bool fixed) {
    auto* const s = new shared_state;
    const auto leave = [s, fixed] {
      if (s->first_came.exchange(true, fixed ? ar : rlx)) delete s;
    };
    w.thread([s, leave] {
      s->result.store(1, rlx);
      leave();
    });
    w.thread(leave);
    w.finally([] {});
  });
}

TEST_CASE("folly futures Core (46183b6c9): who comes second learns it from a failed exchange") {
  caught("data race", [](world& w, bool fixed) {
    plain<int> result{0}, callback{0};
    atomic<int> state{0};
    const std::memory_order failure = fixed ? acq : rlx;
    w.thread([&, failure] {
      result = 1;
      int expected = 0;
      if (!state.compare_exchange_strong(expected, 1, rel, failure)) {
        testing::check(callback == 2, "the callback is there");
      }
    });
    w.thread([&, failure] {
      callback = 2;
      int expected = 0;
      if (!state.compare_exchange_strong(expected, 2, rel, failure)) {
        testing::check(result == 1, "the result is there");
      }
    });
    w.finally([] {});
  });
}

TEST_CASE("folly ParkingLot (ff7ab9dbe): store and load on both sides without a fence") {
  caught("deadlock", [](world& w, bool fixed) {
    atomic<int> value{0}, waiters{0};
    bed sleeper;
    w.thread([&] {
      waiters.fetch_add(1, sc);
      if (value.load(sc) == 0) sleeper.sleep();
    });
    w.thread([&, fixed] {
      value.store(1, rel);
      if (fixed) fence(sc);
      if (waiters.load(sc) != 0) sleeper.wake();
    });
    w.finally([] {});
  });
}

TEST_CASE("libc++ atomic::wait (109290): the monitor is raised and the waiters counted unordered") {
  caught("deadlock", [](world& w, bool fixed) {
    atomic<int> value{0}, monitor{0}, waiters{0};
    bed futex;
    w.thread([&, fixed] {
      const int before = monitor.load(acq);
      if (value.load(acq) != 0) return;
      waiters.fetch_add(1, sc);
      if (fixed) fence(sc);
      if (monitor.load(rlx) == before) futex.sleep();
    });
    w.thread([&, fixed] {
      value.store(1, rel);
      monitor.fetch_add(1, rel);
      if (fixed) fence(sc);
      if (waiters.load(sc) != 0) futex.wake();
    });
    w.finally([] {});
  });
}

namespace {
// Producers take a ticket and write their page when it is their turn.
void pages(world& w, std::memory_order look) {
  plain<int> page{0};
  atomic<int> tickets{0}, turn{0};
  for (int i = 0; i < 2; ++i) {
    w.thread([&, look] {
      const int mine = tickets.fetch_add(1, rlx);
      while (turn.load(look) != mine) testing::spin_hint();
      page = page + 1;
      turn.store(mine + 1, rel);
    });
  }
  w.finally([&] { testing::check(page == 2, "both pages are linked"); });
}
// Who pushes and then pops finds something: two pushes come before two pops.
void pops_after_pushes(world& w, std::memory_order look) {
  atomic<int> head{0}, tail{0};
  for (int i = 0; i < 2; ++i) {
    w.thread([&, look] {
      tail.fetch_add(1, sc);
      int ticket = head.load(look);
      do {
        testing::check(tail.load(rlx) > ticket, "the queue is not empty");
      } while (!head.compare_exchange_strong(ticket, ticket + 1, sc, look));
    });
  }
  w.finally([&] { testing::check(head.load(rlx) == 2, "two were taken"); });
}
}  // namespace

TEST_CASE("oneTBB concurrent_queue (782): the turn to write a page is read relaxed") {
  caught("data race", [](world& w, bool fixed) { pages(w, fixed ? acq : rlx); });
}

TEST_CASE("oneTBB concurrent_queue (782): tail may be read before head") {
  caught("the queue is not empty", [](world& w, bool fixed) {
    pops_after_pushes(w, fixed ? acq : rlx);
  });
}

// ---- queues -------------------------------------------------------------------------------------

TEST_CASE("ponyc (2174): the next producer's link is overwritten by the node's own first store") {
  struct node {
    atomic<node*> next{nullptr};
  };
  caught("deadlock", [](world& w, bool fixed) {
    node stub, nodes[2];
    atomic<node*> back{&stub};
    for (int i = 0; i < 2; ++i) {
      w.thread([&, i, fixed] {
        nodes[i].next.store(nullptr, rlx);
        node* const before = back.exchange(&nodes[i], fixed ? ar : rlx);
        before->next.store(&nodes[i], rel);
      });
    }
    w.thread([&] {
      const node* at = &stub;
      for (int i = 0; i < 2; ++i) {
        const node* next = nullptr;
        while ((next = at->next.load(acq)) == nullptr) testing::spin_hint();
        at = next;
      }
    });
    w.finally([] {});
  });
}

namespace {
// One consumer; a null `back` says that the queue is empty, and `first` takes the next item then.
class queue_without_stub {
public:
  struct node {
    atomic<node*> next{nullptr};
  };
  explicit queue_without_stub(bool fixed) : fixed_(fixed) {}
  void push(node* n) {
    node* const before = back_.exchange(n, ar);
    (before == nullptr ? first_ : before->next).store(n, rel);
  }
  node* pop() {
    node* const n = first_.load(acq);
    if (n == nullptr) return nullptr;
    if (node* const next = n->next.load(acq)) {
      first_.store(next, rlx);
      return n;
    }
    if (fixed_) first_.store(nullptr, rlx);  // before a producer can find the queue empty
    node* expected = n;
    if (back_.compare_exchange_strong(expected, nullptr, ar, acq)) {
      if (!fixed_) first_.store(nullptr, rlx);
      return n;
    }
    node* next = nullptr;
    while ((next = n->next.load(acq)) == nullptr) testing::spin_hint();
    first_.store(next, rlx);
    return n;
  }

private:
  bool fixed_;
  atomic<node*> first_{nullptr}, back_{nullptr};
};
}  // namespace

TEST_CASE("stdexec MPSC queue (1812): emptied and filled at once, the new item is lost") {
  caught("deadlock", [](world& w, bool fixed) {
    queue_without_stub q(fixed);
    queue_without_stub::node nodes[2];
    for (auto& one : nodes) w.thread([&] { q.push(&one); });
    w.thread([&] {
      for (int i = 0; i < 2; ++i) {
        while (q.pop() == nullptr) testing::spin_hint();
      }
    });
    w.finally([] {});
  });
}

TEST_CASE("Concurrency Kit fifo_mpmc (e78c421): a lost race is told as an empty queue") {
  caught("there was one for each", [](world& w, bool fixed) {
    atomic<int> head{0};
    const int items = 2;
    for (int i = 0; i < 2; ++i) {
      w.thread([&, fixed] {
        bool got = false;
        for (int at = head.load(acq); at < items && !got;) {
          got = head.compare_exchange_strong(at, at + 1, ar, acq);
          if (!fixed) break;
        }
        testing::check(got, "there was one for each");
      });
    }
    w.finally([] {});
  });
}

// ---- ABA ----------------------------------------------------------------------------------------

namespace {
// A node's number with a tag that tells one use from the next.
constexpr int tagged(int node, int tag) { return tag * 16 + node; }
constexpr int node_of(int word) { return word % 16; }
constexpr int tag_of(int word) { return word / 16; }

// A stack of nodes by number: 0 is none.
class stack {
public:
  stack(bool tags_on_pop, bool tags_on_take_all)
      : pop_tag_(tags_on_pop ? 1 : 0), all_tag_(tags_on_take_all ? 1 : 0) {}
  void push(int n) {
    int top = top_.load(rlx);
    do {
      next_[n].store(node_of(top), rlx);
    } while (!top_.compare_exchange_strong(top, tagged(n, tag_of(top)), ar, rlx));
  }
  int pop() {
    int top = top_.load(acq);
    while (node_of(top) != 0) {
      const int next = next_[node_of(top)].load(rlx);
      if (top_.compare_exchange_strong(top, tagged(next, tag_of(top) + pop_tag_), ar, acq)) {
        return node_of(top);
      }
    }
    return 0;
  }
  // Returns: the top one; the others hang on it.
  int take_all() {
    int top = top_.load(acq);
    while (node_of(top) != 0 &&
           !top_.compare_exchange_strong(top, tagged(0, tag_of(top) + all_tag_), ar, acq)) {
    }
    return node_of(top);
  }
  [[nodiscard]] int below(int n) const { return next_[n].load(rlx); }

private:
  int pop_tag_, all_tag_;
  atomic<int> top_{0};
  atomic<int> next_[4] = {};
};

void take(atomic<int>* owners, int n) {
  if (n != 0) testing::check(owners[n].fetch_add(1, rlx) == 0, "a node has one owner");
}
}  // namespace

TEST_CASE("Treiber stack without tags: a node that came back is taken for unchanged") {
  caught("a node has one owner", [](world& w, bool fixed) {
    stack s(fixed, fixed);
    atomic<int> owners[4] = {};
    s.push(2);
    s.push(1);
    w.thread([&] { take(owners, s.pop()); });
    w.thread([&] {
      const int first = s.pop();
      take(owners, s.pop());
      if (first != 0) s.push(first);
    });
    w.finally([&] { take(owners, s.pop()); });
  });
}

TEST_CASE("Concurrency Kit batch_pop (7b5d000): taking all at once leaves the tag") {
  caught("a node has one owner", [](world& w, bool fixed) {
    stack s(true, fixed);
    atomic<int> owners[4] = {};
    s.push(2);
    s.push(1);
    w.thread([&] { take(owners, s.pop()); });
    w.thread([&] {
      const int first = s.take_all();
      if (first == 0) return;
      take(owners, s.below(first));
      s.push(first);
    });
    w.finally([&] { take(owners, s.pop()); });
  });
}

namespace {
// Michael and Scott's queue of nodes by number, which are used again.
class recycling_queue {
public:
  explicit recycling_queue(bool keeps_tags) : keeps_tags_(keeps_tags) {}
  void push(int n) {
    const int old = next_[n].load(rlx);
    next_[n].store(tagged(0, keeps_tags_ ? tag_of(old) + 1 : 0), rel);
    for (;;) {
      int tail = tail_.load(acq);
      int next = next_[node_of(tail)].load(acq);
      if (tail != tail_.load(acq)) continue;
      if (node_of(next) != 0) {
        (void)tail_.compare_exchange_strong(tail, tagged(node_of(next), tag_of(tail) + 1), ar, acq);
      } else if (next_[node_of(tail)].compare_exchange_strong(next, tagged(n, tag_of(next) + 1), ar,
                                                              acq)) {
        (void)tail_.compare_exchange_strong(tail, tagged(n, tag_of(tail) + 1), ar, acq);
        return;
      }
    }
  }
  // Returns: the node that is free now; 0 if the queue is empty. `item` is what came out.
  int pop(int& item) {
    for (;;) {
      int head = head_.load(acq);
      int tail = tail_.load(acq);
      const int next = next_[node_of(head)].load(acq);
      if (head != head_.load(acq)) continue;
      if (node_of(head) == node_of(tail)) {
        if (node_of(next) == 0) return 0;
        (void)tail_.compare_exchange_strong(tail, tagged(node_of(next), tag_of(tail) + 1), ar, acq);
        continue;
      }
      item = node_of(next);
      if (head_.compare_exchange_strong(head, tagged(node_of(next), tag_of(head) + 1), ar, acq)) {
        return node_of(head);
      }
    }
  }

private:
  bool keeps_tags_;
  atomic<int> head_{tagged(1, 0)}, tail_{tagged(1, 0)};
  atomic<int> next_[5] = {};
};
}  // namespace

TEST_CASE("Boost.Lockfree (59): a node's first link forgets its tag, items come out of order") {
  caught("items come in order", [](world& w, bool fixed) {
    recycling_queue q(fixed);
    w.thread([&] {
      q.push(3);
      q.push(4);
    });
    w.thread([&] {
      q.push(2);
      int item = 0;
      const int again = q.pop(item);
      if (again == 1) q.push(again);
    });
    w.finally([&] {
      bool four_came = false;
      for (int item = 0; q.pop(item) != 0;) {
        four_came = four_came || item == 4;
        testing::check(item != 3 || !four_came, "items come in order");
      }
    });
  });
}

TEST_CASE("Treiber stack: after a failed exchange the new top is followed without acquire") {
  struct node {
    plain<node*> next{nullptr};
  };
  caught("data race", [](world& w, bool fixed) {
    node nodes[2];
    atomic<node*> top{&nodes[0]};
    w.thread([&] {
      nodes[1].next = top.load(rlx);
      node* expected = nodes[1].next;
      (void)top.compare_exchange_strong(expected, &nodes[1], rel, rlx);
    });
    w.thread([&, fixed] {
      node* old = top.load(acq);
      while (!top.compare_exchange_strong(old, old->next, acq, fixed ? acq : rlx)) {
      }
    });
    w.finally([] {});
  });
}

TEST_CASE("a failed exchange may see an old value: it is no proof of what is there now") {
  // Who fails to raise the flag takes for granted that the other one's work is still to be seen.
  caught("one of them sees the other", [](world& w, bool fixed) {
    atomic<int> here{0}, there{0};
    int saw[2] = {0, 0};
    const std::memory_order failure = fixed ? sc : acq;
    w.thread([&, failure] {
      here.store(1, sc);
      int expected = 2;
      (void)there.compare_exchange_strong(expected, 3, sc, failure);
      saw[0] = expected;
    });
    w.thread([&, failure] {
      there.store(1, sc);
      int expected = 2;
      (void)here.compare_exchange_strong(expected, 3, sc, failure);
      saw[1] = expected;
    });
    w.finally([&] { testing::check(saw[0] + saw[1] > 0, "one of them sees the other"); });
  });
}

// ---- the object is gone -------------------------------------------------------------------------

TEST_CASE("stdexec run_loop (1746): finish still pushes after the loop has seen it") {
  struct run_loop {
    atomic<int> finishing{0};
    atomic<int> tasks{0};
  };
  caught("free", [](world& w, bool fixed) {
    auto* const loop = new run_loop;
    w.thread([loop, fixed] {
      if (!fixed) loop->finishing.store(1, rel);
      loop->tasks.fetch_add(1, rel);  // a task that does nothing, to wake the loop
    });
    w.thread([loop, fixed] {
      while ((fixed ? loop->tasks : loop->finishing).load(acq) == 0) testing::spin_hint();
      delete loop;
    });
    w.finally([] {});
  });
}

TEST_CASE("stdexec (2051), MS STL (883): the notifier looks for waiters when it has let them go") {
  struct event {
    atomic<int> done{0};
    atomic<int> waiters{1};
  };
  caught("free", [](world& w, bool fixed) {
    auto* const e = new event;
    w.thread([e, fixed] {
      const int waiters = fixed ? e->waiters.load(acq) : 0;
      e->done.store(1, rel);
      const int to_wake = fixed ? waiters : e->waiters.load(acq);
      testing::check(to_wake == 1, "one waits");
    });
    w.thread([e] {
      while (e->done.load(acq) == 0) testing::spin_hint();
      delete e;
    });
    w.finally([] {});
  });
}

TEST_CASE("abseil Mutex (9444b11e): the waker follows the list through a waiter that may be gone") {
  struct waiter {
    atomic<waiter*> next{nullptr};
    atomic<int> woken{0};
  };
  caught("free", [](world& w, bool fixed) {
    auto* const second = new waiter;
    auto* const first = new waiter;
    first->next.store(second, rlx);
    w.thread([first, fixed] {
      for (waiter* at = first; at != nullptr;) {
        waiter* next = at->next.load(rlx);
        at->woken.store(1, rel);
        if (!fixed) next = at->next.load(rlx);
        at = next;
      }
    });
    for (waiter* const mine : {first, second}) {
      w.thread([mine] {
        while (mine->woken.load(acq) == 0) testing::spin_hint();
        delete mine;
      });
    }
    w.finally([] {});
  });
}

TEST_CASE("a coroutine that is resumed elsewhere destroys the awaiter that is still in use") {
  struct frame {
    atomic<int> suspended{0};
  };
  caught("free", [](world& w, bool fixed) {
    atomic<frame*> handle{nullptr};
    w.thread([&, fixed] {
      auto* const f = new frame;
      handle.store(f, rel);
      if (!fixed) f->suspended.store(1, rlx);  // but it runs already
    });
    w.thread([&] {
      frame* f = nullptr;
      while ((f = handle.load(acq)) == nullptr) testing::spin_hint();
      delete f;
    });
    w.finally([] {});
  });
}

// ---- lost wake-ups ------------------------------------------------------------------------------

TEST_CASE("glibc condvar (25847), simplified: a later waiter takes the earlier one's wake-up") {
  caught("deadlock", [](world& w, bool fixed) {
    atomic<int> tokens{0}, numbers{0}, signals{0};  // tokens are anybody's, a number is its owner's
    atomic<int> first_is_awake{0};
    const auto wait = [&, fixed] {
      const int mine = numbers.fetch_add(1, ar);
      if (fixed) {
        while (signals.load(acq) <= mine) testing::spin_hint();
        return;
      }
      int seen = tokens.load(acq);
      while (seen == 0 || !tokens.compare_exchange_strong(seen, seen - 1, acq, rlx)) {
        testing::spin_hint();
        seen = tokens.load(acq);
      }
    };
    const auto signal = [&] {
      tokens.fetch_add(1, rel);
      signals.fetch_add(1, rel);
    };
    w.thread([&, wait] {
      wait();
      first_is_awake.store(1, rel);
    });
    w.thread([&, wait] {
      while (signals.load(acq) == 0) testing::spin_hint();
      wait();
    });
    w.thread([&, signal] {
      while (numbers.load(acq) == 0) testing::spin_hint();
      signal();
      while (first_is_awake.load(acq) == 0) testing::spin_hint();
      signal();
    });
    w.finally([] {});
  });
}

#if !defined(INTERLOCK_FRONT_B)  // a parking word is a std::atomic

namespace {
namespace hooks = interlock::detail;
using word = std::atomic<std::uint32_t>;

// 0 free, 1 taken, 2 taken and somebody may sleep.
class sleeping_lock {
public:
  explicit sleeping_lock(std::uint32_t state, bool fixed) : word_(state), fixed_(fixed) {}
  void lock() {
    std::uint32_t expected = 0;
    if (word_.compare_exchange_strong(expected, 1, acq, rlx)) return;
    while (word_.exchange(2, acq) != 0) {
      hooks::park(word_, 2);
      expected = 0;
      if (!fixed_ && word_.compare_exchange_strong(expected, 1, acq, rlx)) return;
    }
  }
  void unlock() {
    if (word_.exchange(0, rel) == 2) hooks::unpark_one(&word_);
  }

private:
  word word_;
  bool fixed_;
};
}  // namespace

TEST_CASE("abseil SpinLock (a4cc270d): who was woken forgets that others sleep") {
  caught("deadlock", [](world& w, bool fixed) {
    sleeping_lock lock(1, fixed);  // the third thread has it
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        lock.lock();
        lock.unlock();
      });
    }
    w.thread([&] { lock.unlock(); });
    w.finally([] {});
  });
}

TEST_CASE("stdexec (2051) with sleepers: only the address may be used once the waiter can go on") {
  struct event {
    word done{0};
    word sleepers{0};
  };
  caught("free", [](world& w, bool fixed) {
    auto* const e = new event;
    w.thread([e] {
      e->sleepers.fetch_add(1, rlx);
      while (e->done.load(acq) == 0) hooks::park(e->done, 0);
      delete e;
    });
    w.thread([e, fixed] {
      const word* const address = &e->done;
      e->done.store(1, rel);
      if (fixed || e->sleepers.load(rlx) != 0) hooks::unpark_all(address);
    });
    w.finally([] {});
  });
}

#endif
