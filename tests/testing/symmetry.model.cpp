// SPDX-License-Identifier: BSL-1.0
// Threads that run the same function: what the reduction leaves out are copies, all of them and
// nothing else. The full exploration counts its graphs up to the names of such threads.

#include "front.hpp"

#include <random>
#include <vector>

using testing::world;

namespace {

struct instruction {
  unsigned kind;
  unsigned place;
  std::memory_order order;
  int value;
  int only_if;  // the last value read is this; -1: always
};
using code = std::vector<instruction>;

void run(const code& all, atomic<int>* places) {
  int last = 0;
  for (const instruction& i : all) {
    if (i.only_if >= 0 && last != i.only_if) continue;
    atomic<int>& x = places[i.place];
    const bool stores = i.kind == 1, loads = i.kind == 0;
    std::memory_order order = i.order;
    if (stores && (order == acq || order == ar)) order = rel;
    if (loads && (order == rel || order == ar)) order = acq;
    switch (i.kind) {
      case 0: last = x.load(order); break;
      case 1: x.store(i.value, order); break;
      case 2: last = x.fetch_add(i.value, order); break;
      case 3: last = x.exchange(i.value, order); break;
      case 4: {
        int expected = last;
        if (!x.compare_exchange_strong(expected, i.value, order, rlx)) last = expected;
        break;
      }
      case 5: fence(order == rlx ? sc : order); break;
      default: last = static_cast<int>(testing::choose(2)); break;
    }
  }
}

code draw(std::mt19937& random, unsigned length, unsigned kinds_used) {
  constexpr std::memory_order orders[] = {rlx, rlx, acq, rel, ar, sc};
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  code all;
  for (unsigned n = 1 + below(length); n != 0; --n) {
    const unsigned kinds[] = {0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 6, 6};
    all.push_back({kinds[below(kinds_used)], below(2), orders[below(6)], 1 + static_cast<int>(below(2)),
                   below(3) == 0 ? static_cast<int>(below(3)) : -1});
  }
  return all;
}

struct group {
  unsigned threads;
  code does;
};

void body(world& w, const std::vector<group>& groups) {
  atomic<int> places[2] = {{0}, {0}};
  for (const group& g : groups) {
    w.threads(g.threads, [&] { run(g.does, places); });
  }
  w.finally([] {});
}

struct counts {
  std::uint64_t executions, distinct;
  bool proved, entangled;
};

counts explore(const std::vector<group>& groups, bool symmetry) {
  testing::options how;
  how.count_distinct = true;
  how.symmetry = symmetry;
  const testing::report r = testing::explore(how, [&](world& w) { body(w, groups); });
  return {r.executions, r.distinct, r.proved(), r.entangled};
}

// Choices are not put in order, so copies that differ in them alone are left.
constexpr unsigned without_choices = 10, with_choices = 12;

// Returns: how many executions were saved.
std::uint64_t compare(unsigned seed, int programs, unsigned length, std::vector<unsigned> sizes,
                      unsigned kinds = without_choices) {
  std::mt19937 random(seed);
  std::uint64_t saved = 0;
  int wrong = 0, entangled = 0;
  for (int i = 0; i < programs && wrong < 3; ++i) {
    std::vector<group> groups;
    for (const unsigned n : sizes) groups.push_back({n, draw(random, length, kinds)});
    const counts all = explore(groups, false);
    const counts fewer = explore(groups, true);
    CAPTURE(i, seed);
    const bool same = all.proved && fewer.proved && fewer.distinct == all.distinct &&
                      (kinds == with_choices || fewer.entangled ||
                       fewer.executions == all.distinct);
    if (!same) {
      CHECK(fewer.distinct == all.distinct);
      CHECK(fewer.executions == all.distinct);
      ++wrong;
    }
    entangled += fewer.entangled ? 1 : 0;
    saved += all.executions - fewer.executions;
  }
  CHECK(wrong == 0);
  CHECK(entangled * 10 < programs);  // where it is given up
  return saved;
}

}  // namespace

TEST_CASE("threads that are alike: no execution is missed and none comes twice") {
  CHECK(compare(1, 3000, 4, {2}) > 0);
  CHECK(compare(2, 600, 2, {3}) > 0);
}

TEST_CASE("threads that are alike, and others that are not") {
  CHECK(compare(3, 1000, 2, {2, 1}) > 0);
  CHECK(compare(4, 1000, 2, {1, 2}) > 0);
  CHECK(compare(5, 200, 1, {2, 2}) > 0);
}

TEST_CASE("threads that are alike and choose") {
  CHECK(compare(6, 1000, 3, {2}, with_choices) > 0);
  CHECK(compare(7, 400, 2, {3}, with_choices) > 0);
}

TEST_CASE("four threads that add: one execution instead of 24") {
  for (const bool symmetry : {false, true}) {
    testing::options how;
    how.symmetry = symmetry;
    const testing::report r = testing::explore(how, [](world& w) {
      atomic<int> x{0};
      w.threads(4, [&] { x.fetch_add(1, rlx); });
      w.finally([&] { testing::check(x.load(rlx) == 4, "none is lost"); });
    });
    CHECK(r.proved());
    CHECK(r.executions == (symmetry ? 1 : 24));
  }
}

TEST_CASE("where symmetry would miss an execution it is given up, in several processes too") {
  // Two that exchange and store; two that load what those stored, then add.
  const auto tangle = [](world& w) {
    atomic<int> x{0}, y{0};
    w.threads(2, [&] {
      y.exchange(1, rel);
      x.store(2, rel);
    });
    w.threads(2, [&] {
      (void)x.load(rlx);
      y.fetch_add(2, ar);
    });
    w.finally([] {});
  };
  for (const unsigned processes : {1U, 2U}) {
    testing::options how;
    how.count_distinct = true;
    how.processes = processes;
    const testing::report r = testing::explore(how, tangle);
    CHECK(r.proved());
    CHECK(r.entangled);
    CHECK(r.executions == 200);
    CHECK(r.distinct == 50);
  }
}

TEST_CASE("what fails in one of the copies is found in the one that is left") {
  const testing::report r = testing::explore([](world& w) {
    atomic<int> x{0};
    w.threads(3, [&] {
      const int seen = x.load(rlx);
      x.store(seen + 1, rlx);
    });
    w.finally([&] { testing::check(x.load(rlx) != 2, "an update is lost"); });
  });
  CHECK(r.failure.find("an update is lost") != std::string::npos);
}
