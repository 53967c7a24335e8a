// SPDX-License-Identifier: BSL-1.0
// The number of executions of small structures, each graph once. The figures are those that GenMC
// gives for the same programs under RC11.

#include "front.hpp"

using testing::world;

namespace {

template <class Body>
std::uint64_t count(Body body) {
  return proved(body).executions;
}

void add(world& w, int threads, int rounds) {
  atomic<int> x{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&x, rounds] {
      for (int i = 0; i < rounds; ++i) x.fetch_add(1, rlx);
    });
  }
  w.finally([&] { testing::check(x.load(rlx) == threads * rounds, "none is lost"); });
}

// Vyukov's queue of many producers and one consumer.
class mpsc {
public:
  struct node {
    atomic<node*> next{nullptr};
    plain<int> item{0};
  };
  void push(node* n) {
    n->next.store(nullptr, rlx);
    node* const before = back_.exchange(n, ar);
    before->next.store(n, rel);
  }
  // Spins until there is one.
  int pop() {
    for (;;) {
      node* const next = front_->next.load(acq);
      if (next != nullptr) {
        front_ = next;
        return next->item;
      }
      testing::spin_hint();
    }
  }

private:
  node stub_;
  node* front_ = &stub_;
  atomic<node*> back_{&stub_};
};

void queue(world& w, int producers, int items) {
  mpsc q;
  mpsc::node nodes[4][4];
  int last[4] = {-1, -1, -1, -1};
  for (int p = 0; p < producers; ++p) {
    w.thread([&, p] {
      for (int i = 0; i < items; ++i) {
        nodes[p][i].item = p * 10 + i;
        q.push(&nodes[p][i]);
      }
    });
  }
  w.thread([&] {
    for (int i = 0; i < producers * items; ++i) {
      const int got = q.pop();
      testing::check(last[got / 10] < got % 10, "each producer's items come in order");
      last[got / 10] = got % 10;
    }
  });
  w.finally([] {});
}

class treiber {
public:
  struct node {
    plain<node*> next{nullptr};
  };
  void push(node* n) {
    node* old = head_.load(rlx);
    do {
      n->next = old;
    } while (!head_.compare_exchange_strong(old, n, rel, rlx));
  }
  node* pop() {
    node* old = head_.load(acq);
    while (old != nullptr) {
      node* const next = old->next;
      if (head_.compare_exchange_strong(old, next, acq, acq)) return old;
    }
    return nullptr;
  }

private:
  atomic<node*> head_{nullptr};
};

void stack(world& w, int threads) {
  treiber s;
  treiber::node nodes[3];
  for (int t = 0; t < threads; ++t) {
    w.thread([&, t] {
      s.push(&nodes[t]);
      testing::check(s.pop() != nullptr, "there is one for each");
    });
  }
  w.finally([&] { testing::check(s.pop() == nullptr, "and no more"); });
}

}  // namespace

TEST_CASE("updates of one object: one execution for each order") {
  CHECK(count([](world& w) { add(w, 2, 1); }) == 2);
  CHECK(count([](world& w) { add(w, 2, 3); }) == 20);
  CHECK(count([](world& w) { add(w, 3, 1); }) == 6);
  CHECK(count([](world& w) { add(w, 3, 3); }) == 1680);
  CHECK(count([](world& w) { add(w, 5, 1); }) == 120);
}

TEST_CASE("updates of one object: 34650 orders of 3 times 4") {
  CHECK(count([](world& w) { add(w, 3, 4); }) == 34650);
}

TEST_CASE("a queue with a spinning consumer: one execution for each order of the pushes") {
  CHECK(count([](world& w) { queue(w, 2, 1); }) == 2);
  CHECK(count([](world& w) { queue(w, 2, 2); }) == 6);
  CHECK(count([](world& w) { queue(w, 3, 1); }) == 6);
  CHECK(count([](world& w) { queue(w, 3, 2); }) == 90);
  CHECK(count([](world& w) { queue(w, 2, 4); }) == 70);
}

TEST_CASE("a stack of two and three threads") {
  CHECK(count([](world& w) { stack(w, 2); }) == 40);
  CHECK(count([](world& w) { stack(w, 3); }) == 25680);
}
