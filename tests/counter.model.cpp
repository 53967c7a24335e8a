// SPDX-License-Identifier: BSL-1.0
// counter, bounded_counter and watermark in every execution of two and three threads.

#include "testing/front.hpp"

#include <interlock/bounded_counter.hpp>
#include <interlock/counter.hpp>
#include <interlock/watermark.hpp>

using testing::world;

TEST_CASE("counter: no addition is lost, each value is given out once") {
  proved([](world& w) {
    auto* const hits = new interlock::counter<int>;
    int got[3][2] = {};
    for (int t = 0; t < 3; ++t) {
      w.thread([&, hits, t] {
        for (int& value : got[t]) value = ++*hits;
      });
    }
    w.finally([&, hits] {
      int seen = 0;
      for (const auto& two : got) {
        testing::check(two[0] < two[1], "a thread's own values grow");
        for (const int value : two) seen |= 1 << value;
      }
      testing::check(seen == 0b1111110, "1 to 6, each once");
      testing::check(hits->load() == 6, "none is lost");
      delete hits;
    });
  });
}

TEST_CASE("counter: each addition is in exactly one drain") {
  proved([](world& w) {
    interlock::counter<int> hits;
    int drained[2] = {};
    w.thread([&] {
      hits.add(1);
      hits.add(10);
    });
    for (int& mine : drained) w.thread([&] { mine = hits.exchange(0); });
    w.finally([&] { testing::check(drained[0] + drained[1] + hits.load() == 11, "once each"); });
  });
}

TEST_CASE("counter: adding here and reading there is not reordered; each memory order is needed") {
  const auto both = [](auto change) {
    return [change](world& w) {
      interlock::counter<int> a(5), b(5);
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
    };
  };
  const auto adding = both([](interlock::counter<int>& c) { c.add(1); });
  const auto draining = both([](interlock::counter<int>& c) { (void)c.exchange(0); });
  proved(adding);
  proved(draining);
  CHECK(survivors(adding, draining) == "");
}

TEST_CASE("bounded_counter: the last unit goes to one of three") {
  proved([](world& w) {
    auto* const seats = new interlock::bounded_counter(1, 0, 10);
    int won = 0;
    std::atomic<int> winners{0};
    for (int t = 0; t < 3; ++t) {
      w.thread([&, seats] {
        if (!seats->try_sub(1)) return;
        won += 1;  // plain: a race if two won
        winners.fetch_add(1, rlx);
      });
    }
    w.finally([&, seats] {
      testing::check(won == 1 && winners.load(rlx) == 1, "one has won");
      testing::check(seats->load() == 0, "none is left");
      delete seats;
    });
  });
}

TEST_CASE("bounded_counter: stays within its bounds and hands on what was done before") {
  proved([](world& w) {
    interlock::bounded_counter units(0, 0, 1);
    int goods = 0;
    bool took = false;
    w.thread([&] {
      goods = 5;
      testing::check(units.try_add(1), "there is room");
    });
    w.thread([&] {
      took = units.try_sub(1);
      if (took) testing::check(goods == 5, "what was done before the unit was put is visible");
    });
    w.thread([&] {
      const auto now = units.load();
      testing::check(now >= 0 && now <= 1, "within the bounds");
    });
    w.finally([&] { testing::check(units.load() == (took ? 0 : 1), "no unit is lost"); });
  });
}

TEST_CASE("bounded_counter: a refusal holds among all counters; each memory order is needed") {
  const auto body = [](world& w) {
    interlock::bounded_counter a(1, 0, 1), b(1, 0, 1);
    bool saw_a = false, saw_b = false;
    w.thread([&] {
      testing::check(a.try_sub(1), "there is one");
      saw_b = b.load() == 0;
    });
    w.thread([&] {
      testing::check(b.try_sub(1), "there is one");
      saw_a = a.load() == 0;
    });
    w.finally([&] { testing::check(saw_a || saw_b, "one of them sees the other"); });
  };
  proved(body);
  CHECK(survivors(body) == "");
}

TEST_CASE("watermark: never moves backwards, and every raise above it counts") {
  proved([](world& w) {
    interlock::watermark<int> mark(0);
    w.thread([&] { mark.raise(2); });
    w.thread([&] { mark.raise(1); });
    w.thread([&] {
      const int first = mark.load();
      testing::check(first <= mark.load(), "not backwards");
    });
    w.finally([&] { testing::check(mark.load() == 2, "the highest"); });
  });
}

TEST_CASE("watermark: a waiter misses no raise and sees what was done before it") {
  const auto body = [](world& w) {
    auto* const mark = new interlock::watermark<int>(0);
    int goods = 0;
    w.thread([&, mark] {
      mark->wait_for_at_least(2);
      testing::check(goods == 3, "what was done before the raise is visible");
    });
    w.thread([&, mark] {
      mark->raise(1);
      goods = 3;
      mark->raise(2);
    });
    w.finally([mark] { delete mark; });
  };
  proved(body);
  CHECK(survivors(body) == "");  // each memory order is needed
}

TEST_CASE("watermark: two raises and a waiter") {
  proved([](world& w) {
    interlock::watermark<int> mark(0);
    w.thread([&] { mark.wait_for_at_least(2); });
    w.thread([&] { mark.raise(1); });
    w.thread([&] { mark.raise(2); });
    w.finally([] {});
  });
}
