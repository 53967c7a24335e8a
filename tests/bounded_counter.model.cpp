// SPDX-License-Identifier: BSL-1.0
// bounded_counter in every execution: within its bounds, whole or not at all, refused only if need
// be, one total order.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/bounded_counter.hpp>

#include <limits>

using interlock::bounded_counter;
using testing::world;

namespace {

// What a bounded counter must not be: the check and the change in two steps.
class naive_bounded {
public:
  naive_bounded(std::int64_t initial, std::int64_t min, std::int64_t)
      : min_(min), value_(initial) {}
  bool try_sub(std::int64_t n) {
    if (value_.load(sc) - n < min_) return false;
    value_.fetch_sub(n, sc);
    return true;
  }
  std::int64_t load() const { return value_.load(sc); }

private:
  std::int64_t min_;
  std::atomic<std::int64_t> value_;
};

// And this one takes first and gives back what was too much: others are refused meanwhile.
class hasty_bounded {
public:
  hasty_bounded(std::int64_t initial, std::int64_t min, std::int64_t)
      : min_(min), value_(initial) {}
  bool try_sub(std::int64_t n) {
    if (value_.fetch_sub(n, sc) - n >= min_) return true;
    value_.fetch_add(n, sc);
    return false;
  }

private:
  std::int64_t min_;
  std::atomic<std::int64_t> value_;
};

// Each thread asks `rounds` times for one of `seats`.
template <class Counter>
void book(world& w, int threads, int rounds, int seats) {
  auto* const free = new Counter(seats, 0, seats);
  int won[4] = {};
  for (int t = 0; t < threads; ++t) {
    w.thread([&, free, t, rounds] {
      for (int i = 0; i < rounds; ++i) won[t] += free->try_sub(1) ? 1 : 0;
    });
  }
  w.finally([&, free, seats] {
    testing::check(won[0] + won[1] + won[2] + won[3] == seats, "each seat goes to one");
    testing::check(free->load() == 0, "none is left");
    delete free;
  });
}

// Both directions, three units of room: what is granted adds up, what is seen is within the bounds.
void both_ways(world& w) {
  auto* const units = new bounded_counter(1, 0, 3);
  int change[2] = {};
  w.thread([&, units] {
    change[0] += units->try_add(2) ? 2 : 0;
    change[0] -= units->try_sub(1) ? 1 : 0;
  });
  w.thread([&, units] {
    change[1] -= units->try_sub(2) ? 2 : 0;
    change[1] += units->try_add(1) ? 1 : 0;
  });
  w.thread([units] {
    for (int i = 0; i < 2; ++i) {
      const auto now = units->load();
      testing::check(now >= 0 && now <= 3, "within the bounds");
    }
  });
  w.finally([&, units] {
    testing::check(units->load() == 1 + change[0] + change[1], "what was granted adds up");
    delete units;
  });
}

// The last one to leave destroys it.
void last_user(world& w) {
  auto* const units = used_by<bounded_counter>::make(3, 1, 0, 1);
  for (int t = 0; t < 3; ++t) {
    w.thread([units] {
      if ((*units)->try_sub(1)) testing::check((*units)->try_add(1), "there is room for it");
      units->leave();
    });
  }
  w.finally([] {});
}

// There is one unit for each thread at any time, so nobody may be refused.
void enough_for_all(world& w, int threads) {
  auto* const units = new bounded_counter(threads, 0, threads);
  for (int t = 0; t < threads; ++t) {
    w.thread([units] {
      testing::check(units->try_sub(1), "there was enough at every moment");
      testing::check(units->try_add(1), "there was room at every moment");
    });
  }
  w.finally([units] { delete units; });
}

// One unit is always there: a request for it is not refused because of one that is too large.
template <class Counter>
void too_large_beside(world& w) {
  Counter units(1, 0, 2);
  w.thread([&] { testing::check(!units.try_sub(2), "more than there is"); });
  w.thread([&] { testing::check(units.try_sub(1), "there was one at every moment"); });
  w.finally([] {});
}

void refusals(world& w) {
  bounded_counter none(0, 0, 1);
  for (int t = 0; t < 3; ++t) {
    w.thread([&] {
      testing::check(!none.try_sub(1), "there is none");
      testing::check(!none.try_add(2), "there is not so much room");
    });
  }
  w.finally([] {});
}

void at_the_ends_of_the_range(world& w) {
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  bounded_counter units(0, least, most);
  int granted = 0;
  bool up[2] = {};
  for (bool& mine : up) w.thread([&] { mine = units.try_add(most); });
  w.finally([&] {
    granted = (up[0] ? 1 : 0) + (up[1] ? 1 : 0);
    testing::check(granted == 1 && units.load() == most, "the second would overflow");
  });
}

void hands_on(world& w) {
  bounded_counter units(0, 0, 1);
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
  w.finally([&] { testing::check(units.load() == (took ? 0 : 1), "no unit is lost"); });
}

// Who asked and then learns that there is more sees it.
void load_after_request(world& w) {
  bounded_counter units(1, 0, 2);
  std::atomic<bool> added{false};
  w.thread([&] {
    testing::check(units.try_sub(1), "there is one");
    if (added.load(acq)) testing::check(units.load() == 1, "what came before is counted");
  });
  w.thread([&] {
    testing::check(units.try_add(1), "there is room");
    added.store(true, rel);
  });
  w.finally([] {});
}

// Each takes the unit of one counter, then looks at the other.
template <class Look>
void take_then_look(world& w, Look sees_it_gone) {
  bounded_counter a(1, 0, 1), b(1, 0, 1);
  bool saw_a = false, saw_b = false;
  w.thread([&] {
    testing::check(a.try_sub(1), "there is one");
    saw_b = sees_it_gone(b);
  });
  w.thread([&] {
    testing::check(b.try_sub(1), "there is one");
    saw_a = sees_it_gone(a);
  });
  w.finally([&] { testing::check(saw_a || saw_b, "one of them sees the other"); });
}

void take_then_load(world& w) {
  take_then_look(w, [](bounded_counter& c) { return c.load() == 0; });
}
void take_then_ask_for_two(world& w) {  // both requests for two are refused in any case
  take_then_look(w, [](bounded_counter& c) {
    testing::check(!c.try_sub(2), "there are never two");
    return c.load() == 0;
  });
}

// Two readers, one of which learns of an addition from a refusal: that it is full, it may have
// found out by a failed compare-and-swap.
void two_readers(world& w) {
  bounded_counter a(0, 0, 1), b(0, 0, 1);
  bool a_first = false, b_first = false;
  w.thread([&] { (void)a.try_add(1); });
  w.thread([&] { testing::check(b.try_add(1), "nobody else adds"); });
  w.thread([&] { a_first = !a.try_add(1) && b.load() == 0; });
  w.thread([&] { b_first = b.load() == 1 && a.load() == 0; });
  w.finally([&] { testing::check(!a_first || !b_first, "one order for all"); });
}

}  // namespace

TEST_CASE("bounded_counter: what there is goes to so many and no more") {
  proved([](world& w) { book<bounded_counter>(w, 3, 2, 2); });
  proved([](world& w) { book<bounded_counter>(w, 4, 1, 2); });
  proved([](world& w) { book<bounded_counter>(w, 3, 1, 1); });
  failing([](world& w) { book<naive_bounded>(w, 2, 1, 1); });
}

TEST_CASE("bounded_counter: what was granted adds up to the change, within the bounds") {
  proved(both_ways);
  proved(at_the_ends_of_the_range);
}

TEST_CASE("bounded_counter: who could be served at every moment is not refused") {
  proved([](world& w) { enough_for_all(w, 2); });
  proved([](world& w) { enough_for_all(w, 3); });
  proved(too_large_beside<bounded_counter>);
  failing(too_large_beside<hasty_bounded>);
}

TEST_CASE("bounded_counter: refusals write nothing, so among them there is one execution") {
  CHECK(proved(refusals).executions == 1);
}

TEST_CASE("bounded_counter: the last user may destroy it") { proved(last_user); }

TEST_CASE("bounded_counter: hands on what was done before, in one order for all counters") {
  proved(hands_on);
  proved(load_after_request);
  proved(take_then_load);
  proved(take_then_ask_for_two);
  proved(two_readers);
}

TEST_CASE("bounded_counter: mutants", "[.mutants]") {
  mutants({take_then_load, hands_on, load_after_request, two_readers,
           [](world& w) { book<bounded_counter>(w, 2, 1, 1); }});
}
