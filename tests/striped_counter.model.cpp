// SPDX-License-Identifier: BSL-1.0
// striped_counter in every execution: nothing lost, exact sums at one moment, growing loads never
// backwards, while it spreads and after.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/striped_counter.hpp>

#include <array>

namespace detail = interlock::detail;
using interlock::striped_counter;
using testing::world;

namespace {

// The way in for tests: to begin with a counter that has spread, as it does after a collision.
std::atomic<detail::stripe_block*>& newest_of(striped_counter& c);
template <auto Newest>
struct way_in {
  friend std::atomic<detail::stripe_block*>& newest_of(striped_counter& c) { return c.*Newest; }
};
template struct way_in<&striped_counter::newest_>;

// Effects: adds a block of two stripes.
void spread(striped_counter& c) {
  detail::stripe_block* const older = newest_of(c).load(sc);
  newest_of(c).store(detail::stripe_block::make(2, older), sc);
}

// Chance gives a thread its stripe; here the test does.
void use_stripe(unsigned index) { detail::stripe_place::of_this_thread().index = index; }

// The library asks the system once and remembers: not within an execution, which would do
// something else the next time.
const std::size_t asked_before = detail::most_stripes();

// What a striped counter must not be: its drain reads all stripes, then clears them.
class naive_striped {
public:
  void add(std::size_t at, int n) { stripes_[at].fetch_add(n, sc); }
  int drain() {
    int total = 0;
    for (auto& one : stripes_) total += one.load(sc);
    for (auto& one : stripes_) one.store(0, sc);
    return total;
  }

private:
  std::array<std::atomic<int>, 2> stripes_{};
};

void counts(world& w, int threads, int rounds) {
  auto* const c = new striped_counter;
  for (int t = 0; t < threads; ++t) {
    w.thread([c, rounds] {
      for (int i = 0; i < rounds; ++i) ++*c;
    });
  }
  w.finally([c, threads, rounds] {
    testing::check(c->load() == threads * rounds, "no addition is lost");
    testing::check(c->exchange(0) == threads * rounds, "nor by the exact sum");
    delete c;
  });
}

// The last one to leave destroys it, with the blocks that the others made.
void last_user(world& w, int threads) {
  auto* const c = used_by<striped_counter>::make(threads);
  for (int t = 0; t < threads; ++t) {
    w.thread([c] {
      ++**c;
      c->leave();
    });
  }
  w.finally([] {});
}

// Up, then down in another stripe: the value is 0, 1, 0.
template <class Read>
void up_then_down(world& w, Read read) {
  striped_counter c;
  spread(c);
  w.thread([&] {
    use_stripe(0);
    ++c;
    use_stripe(1);
    --c;
  });
  w.thread([&] {
    const auto value = read(c);
    testing::check(value == 0 || value == 1, "a value that the counter had");
  });
  w.finally([] {});
}

void up_then_down_exact(world& w) {
  up_then_down(w, [](striped_counter& c) { return c.load_exact(); });
}
void up_then_down_drained(world& w) {
  up_then_down(w, [](striped_counter& c) { return c.exchange(0); });
}

// The same by two threads.
void up_here_down_there(world& w) {
  striped_counter c;
  spread(c);
  std::atomic<bool> went_up{false};
  w.thread([&] {
    use_stripe(0);
    ++c;
    went_up.store(true, rel);
  });
  w.thread([&] {
    use_stripe(1);
    while (!went_up.load(acq)) testing::spin_hint();
    --c;
  });
  w.thread([&] {
    const auto value = c.load_exact();
    testing::check(value == 0 || value == 1, "a value that the counter had");
  });
  w.finally([] {});
}

// The same in a counter that spreads in between.
void up_spread_down(world& w) {
  striped_counter c;
  w.thread([&] {
    ++c;
    spread(c);
    --c;
  });
  w.thread([&] {
    const auto value = c.load_exact();
    testing::check(value == 0 || value == 1, "a value that the counter had");
  });
  w.finally([] {});
}

// Up in a new block by one thread, then down by one that has read an older block before.
void up_in_a_newer_block(world& w) {
  striped_counter c;
  spread(c);
  std::atomic<bool> went_up{false};
  w.thread([&] {
    spread(c);
    ++c;
    went_up.store(true, rel);
  });
  w.thread([&] {
    (void)c.load();
    if (went_up.load(acq)) --c;
  });
  w.thread([&] {
    const auto value = c.load_exact();
    testing::check(value == 0 || value == 1, "a value that the counter had");
  });
  w.finally([] {});
}

// One that spreads where threads collide, while it is drained.
void spreads_meanwhile(world& w, int rounds) {
  striped_counter c;
  std::int64_t value = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, rounds] {
      for (int i = 0; i < rounds; ++i) ++c;
    });
  }
  w.thread([&] { value = c.exchange(0); });
  w.finally([&, rounds] { testing::check(value + c.load() == 2 * rounds, "drained or there"); });
}

void drain_beside_add(world& w) {
  striped_counter c(1);
  std::int64_t value = 0;
  w.thread([&] { c.add(10); });
  w.thread([&] { value = c.exchange(100); });
  w.finally([&] { testing::check(value + c.load() == 111, "drained or there"); });
}

template <class Add, class Drain>
void two_drains(world& w, Add add, Drain drain) {
  int drained[2] = {};
  w.thread([=] {
    add(1);
    add(10);
  });
  for (int& mine : drained) w.thread([&mine, drain] { mine = drain(); });
  w.finally([&, drain] {
    const int both = drained[0] + drained[1];
    testing::check(both == 0 || both == 1 || both == 11, "in the order of the additions");
    testing::check(both + drain() == 11, "each addition is in one drain");
  });
}

void striped_drains(world& w) {
  striped_counter c;
  spread(c);
  two_drains(w, [&](int n) { c.add(n); }, [&] { return static_cast<int>(c.exchange(0)); });
}

void naive_drains(world& w) {
  naive_striped c;
  two_drains(w, [&](int n) { c.add(n == 1 ? 0 : 1, n); }, [&] { return c.drain(); });
}

// Additions to two stripes; loads that only grow.
void growing(world& w) {
  striped_counter c;
  spread(c);
  for (unsigned t = 0; t < 2; ++t) {
    w.thread([&, t] {
      use_stripe(t);
      ++c;
      testing::check(c.load() >= 1, "what came before is counted");
    });
  }
  w.thread([&] {
    const auto first = c.load();
    testing::check(first <= c.load(), "not backwards");
  });
  w.finally([&] { testing::check(c.load() == 2, "all are counted"); });
}

// Who has counted and then learns that another one has counted too, perhaps elsewhere, finds both.
void load_after_add(world& w, bool spread_before, bool spread_meanwhile) {
  striped_counter c;
  if (spread_before) spread(c);
  std::atomic<bool> counted{false};
  w.thread([&] {
    ++c;
    if (counted.load(acq)) testing::check(c.load() == 2, "what came before is counted");
  });
  w.thread([&, spread_meanwhile] {
    if (spread_meanwhile) spread(c);
    ++c;
    counted.store(true, rel);
  });
  w.finally([] {});
}

void load_after_add_beside(world& w) { load_after_add(w, false, false); }
void load_after_add_in_stripe(world& w) { load_after_add(w, true, false); }
void load_after_add_in_new_block(world& w) { load_after_add(w, false, true); }

// 10, then 15, then drained.
void load_beside_exchange(world& w) {
  striped_counter c(10);
  spread(c);
  w.thread([&] {
    use_stripe(1);
    c.add(5);
    testing::check(c.exchange(1) == 15, "all of it");
  });
  w.thread([&] {
    const auto seen = c.load();
    testing::check(seen == 10 || seen == 15 || seen == 1, "an exchange counts wholly or not");
  });
  w.finally([] {});
}

// A load that counts an addition sees what was done before it.
void hands_on(world& w) {
  striped_counter c;
  spread(c);
  int goods = 0;
  w.thread([&] {
    goods = 7;
    ++c;
  });
  w.thread([&] {
    if (c.load() == 1) testing::check(goods == 7, "what was done before is visible");
  });
  w.finally([] {});
}

// Each changes one counter and looks at the other: not both are too early.
template <class Begin, class Change>
void change_then_look(world& w, Begin begin, Change change) {
  striped_counter a, b;
  begin(a);
  begin(b);
  std::int64_t saw_a = 0, saw_b = 0;
  w.thread([&, change] {
    change(a);
    saw_b = b.load();
  });
  w.thread([&, change] {
    change(b);
    saw_a = a.load();
  });
  w.finally([&] { testing::check(saw_a != 0 || saw_b != 0, "one of them sees the other"); });
}

void add_then_look(world& w) {
  change_then_look(w, [](striped_counter&) {}, [](striped_counter& c) { ++c; });
}
void add_to_stripe_then_look(world& w) {
  change_then_look(w, [](striped_counter& c) { spread(c); }, [](striped_counter& c) { ++c; });
}
void exchange_then_look(world& w) {
  change_then_look(w, [](striped_counter&) {}, [](striped_counter& c) { (void)c.exchange(1); });
}

// As above with a block that somebody else adds.
void add_to_new_block_then_look(world& w) {
  striped_counter a, b;
  std::int64_t saw_a = 0, saw_b = 0;
  w.thread([&] { spread(a); });
  w.thread([&] {
    ++a;
    saw_b = b.load();
  });
  w.thread([&] {
    ++b;
    saw_a = a.load();
  });
  w.finally([&] { testing::check(saw_a != 0 || saw_b != 0, "one of them sees the other"); });
}

// As above with a block that a collision adds.
void collide_then_look(world& w) {
  striped_counter a, b;
  std::int64_t saw_a = 0, saw_b = 0;
  w.thread([&] { ++a; });
  w.thread([&] {
    a.add(10);
    a.add(10);
    saw_b = b.load();
  });
  w.thread([&] {
    ++b;
    saw_a = a.load();
  });
  w.finally([&] { testing::check(saw_a >= 20 || saw_b != 0, "one of them sees the other"); });
}

}  // namespace

TEST_CASE("striped_counter: no addition is lost, while it spreads as well") {
  REQUIRE(asked_before >= 2);
  proved([](world& w) { counts(w, 2, 2); });
  proved([](world& w) { counts(w, 3, 2); });
  proved([](world& w) { counts(w, 4, 1); });
}

TEST_CASE("striped_counter: no addition is lost where there is no memory for stripes") {
  testing::options how;
  how.allocation_failures = 2;
  proved([](world& w) { counts(w, 2, 2); }, how);
  proved([](world& w) { counts(w, 3, 1); }, how);
}

TEST_CASE("striped_counter: the last user may destroy it") {
  proved([](world& w) { last_user(w, 2); });
  proved([](world& w) { last_user(w, 3); });
}

TEST_CASE("striped_counter: a load counts what happened before it, and each operation wholly") {
  proved(growing);
  proved(hands_on);
  proved(load_after_add_beside);
  proved(load_after_add_in_stripe);
  proved(load_after_add_in_new_block);
  proved(load_beside_exchange);
}

TEST_CASE("striped_counter: an exact sum is a value that the counter had") {
  proved(up_then_down_exact);
  proved(up_then_down_drained);
  proved(up_here_down_there);
  proved(up_spread_down);
  proved(up_in_a_newer_block);
  failing([](world& w) { up_then_down(w, [](striped_counter& c) { return c.load(); }); });
}

TEST_CASE("striped_counter: each addition is in exactly one drain") {
  proved(drain_beside_add);
  proved([](world& w) { spreads_meanwhile(w, 1); });
  failing(naive_drains);
}

TEST_CASE("striped_counter: two additions and two drains", "[.deep]") { proved(striped_drains); }

TEST_CASE("striped_counter: two threads spread it while it is drained", "[.deep]") {
  proved([](world& w) { spreads_meanwhile(w, 2); });
}

TEST_CASE("striped_counter: operations on several counters have one order") {
  proved(add_then_look);
  proved(add_to_stripe_then_look);
  proved(add_to_new_block_then_look);
  proved(collide_then_look);
  proved(exchange_then_look);
}

TEST_CASE("striped_counter: mutants", "[.mutants]") {
  mutants({hands_on, add_then_look, add_to_stripe_then_look, exchange_then_look,
           load_beside_exchange, load_after_add_beside, load_after_add_in_stripe,
           load_after_add_in_new_block, up_then_down_exact, up_then_down_drained, up_spread_down,
           add_to_new_block_then_look, collide_then_look, drain_beside_add,
           [](world& w) { counts(w, 2, 1); }, [](world& w) { last_user(w, 2); }});
}
