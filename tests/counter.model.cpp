// SPDX-License-Identifier: BSL-1.0
// counter in every execution: no addition is lost, each value is given out once, one total order.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/counter.hpp>

using interlock::counter;
using testing::world;

namespace {

// What a counter must not be: a load and a store.
class naive_counter {
public:
  int operator++() {
    const int after = value_.load(sc) + 1;
    value_.store(after, sc);
    return after;
  }
  int load() const { return value_.load(sc); }

private:
  std::atomic<int> value_{0};
};

// And this one adds in one step, but its order holds for its own word only.
class lone_counter {
public:
  explicit lone_counter(int initial) : value_(initial) {}
  void add(int n) { value_.fetch_add(n, ar); }
  int load() const { return value_.load(acq); }

private:
  std::atomic<int> value_;
};

// Each thread counts `rounds` times; the last one to leave destroys the counter.
template <class Counter>
void counts(world& w, int threads, int rounds) {
  auto* const hits = used_by<Counter>::make(threads);
  int got[4][2] = {};
  for (int t = 0; t < threads; ++t) {
    w.thread([&, hits, t, rounds] {
      for (int i = 0; i < rounds; ++i) got[t][i] = ++**hits;
      hits->leave();
    });
  }
  w.finally([&, threads, rounds] {
    int seen = 0;
    for (int t = 0; t < threads; ++t) {
      testing::check(rounds == 1 || got[t][0] < got[t][1], "a thread's own values grow");
      for (int i = 0; i < rounds; ++i) seen |= 1 << got[t][i];
    }
    testing::check(seen == (2 << (threads * rounds)) - 2,
                   "1 to the number of additions, each once");
  });
}

// Additions, subtractions and reads mixed, each answering with the value after it or before it.
void mixed(world& w) {
  auto* const c = used_by<counter<int>>::make(3, 100);
  int added = 0, subtracted = 0, up = 0, down = 0, seen[2] = {};
  w.thread([&, c] {
    added = **c += 10;
    subtracted = **c -= 3;
    c->leave();
  });
  w.thread([&, c] {
    up = (**c)++;
    down = (**c)--;
    c->leave();
  });
  w.thread([&, c] {
    for (int& value : seen) value = (*c)->load();
    c->leave();
  });
  w.finally([&] {
    // Of the other thread's two operations none, one or both came before.
    testing::check(added == 110 || added == 111, "the value after the addition");
    testing::check(subtracted == 107 || subtracted == 108, "the value after the subtraction");
    testing::check(up == 100 || up == 110 || up == 107, "the value before the increment");
    testing::check(down == 101 || down == 111 || down == 108, "the value before the decrement");
    testing::check((added == 111) <= (up == 100), "an increment that was counted came first");
    testing::check((up == 107) <= (added == 110), "and the other way round");
    for (const int value : seen) {
      const bool after_addition = value == 110 || value == 111;
      const bool after_subtraction = value == 107 || value == 108;
      testing::check(value == 100 || value == 101 || after_addition || after_subtraction,
                     "a value that the counter had");
    }
  });
}

void drains(world& w) {
  auto* const hits = used_by<counter<int>>::make(3);
  int drained[2] = {};
  w.thread([hits] {
    (*hits)->add(1);
    (*hits)->add(10);
    hits->leave();
  });
  for (int& mine : drained) {
    w.thread([&, hits] {
      mine = (*hits)->exchange(0);
      mine += (*hits)->exchange(0);
      hits->leave();
    });
  }
  w.finally([&] {
    const int both = drained[0] + drained[1];
    testing::check(both == 0 || both == 1 || both == 11, "each at most once, the first first");
  });
}

void drains_what_is_left(world& w) {
  counter<int> hits;
  int drained = 0;
  w.thread([&] { hits.add(1); });
  w.thread([&] { hits.add(10); });
  w.thread([&] { drained = hits.exchange(100); });
  w.finally([&] { testing::check(drained + hits.load() == 111, "drained or still there"); });
}

void wraps(world& w) {
  counter<signed char> c(126);
  bool saw[256] = {};
  for (int t = 0; t < 3; ++t) {
    w.thread([&] { saw[static_cast<unsigned char>(++c)] = true; });
  }
  w.finally([&] { testing::check(saw[127] && saw[128] && saw[129], "127, -128, -127"); });
}

// Two threads, each changes one counter and looks at the other.
template <class Counter, class Change>
void store_then_look(world& w, Change change) {
  Counter a(5), b(5);
  int saw_b = 0, saw_a = 0;
  w.thread([&] {
    change(a);
    saw_b = b.load();
  });
  w.thread([&] {
    change(b);
    saw_a = a.load();
  });
  w.finally([&] { testing::check(saw_a != 5 || saw_b != 5, "one of them sees the other"); });
}

void add_then_look(world& w) {
  store_then_look<counter<int>>(w, [](counter<int>& c) { c.add(1); });
}
void drain_then_look(world& w) {
  store_then_look<counter<int>>(w, [](counter<int>& c) { (void)c.exchange(0); });
}

// Who has counted and then learns that another one has counted too finds both.
void load_after_add(world& w) {
  counter<int> c;
  std::atomic<bool> counted{false};
  w.thread([&] {
    ++c;
    if (counted.load(acq)) testing::check(c.load() == 2, "what came before is counted");
  });
  w.thread([&] {
    ++c;
    counted.store(true, rel);
  });
  w.finally([] {});
}

void two_readers(world& w) {
  counter<int> a, b;
  bool a_first = false, b_first = false;
  w.thread([&] { ++a; });
  w.thread([&] { ++b; });
  w.thread([&] { a_first = a.load() == 1 && b.load() == 0; });
  w.thread([&] { b_first = b.load() == 1 && a.load() == 0; });
  w.finally([&] { testing::check(!a_first || !b_first, "one order for all"); });
}

}  // namespace

TEST_CASE("counter: no addition is lost and each value is given out once") {
  proved([](world& w) { counts<counter<int>>(w, 3, 2); });
  proved([](world& w) { counts<counter<int>>(w, 4, 1); });
  failing([](world& w) { counts<naive_counter>(w, 2, 1); });
}

TEST_CASE("counter: an operation answers with the value that it produced or replaced") {
  proved(mixed);
}

TEST_CASE("counter: each addition is in exactly one drain") {
  proved(drains);
  proved(drains_what_is_left);
  proved(load_after_add);
}

TEST_CASE("counter: past the largest value it goes on from the smallest") { proved(wraps); }

TEST_CASE("counter: operations on several counters have one order") {
  proved(add_then_look);
  proved(drain_then_look);
  proved(two_readers);
  failing([](world& w) {
    store_then_look<lone_counter>(w, [](lone_counter& c) { c.add(1); });
  });
}

TEST_CASE("counter: mutants", "[.mutants]") {
  mutants({add_then_look, drain_then_look, load_after_add, drains_what_is_left,
           [](world& w) { counts<counter<int>>(w, 2, 1); }});
}
