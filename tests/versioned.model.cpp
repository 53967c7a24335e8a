// SPDX-License-Identifier: BSL-1.0
// versioned in every execution: no torn value, no lost commit, no missed wake-up.

#include "testing/front.hpp"

#include <interlock/versioned.hpp>

using testing::world;

namespace {

struct pair {  // two words: a torn read shows
  long long a, b;
};
static_assert(interlock::versioned<pair>::storage ==
              interlock::versioned<pair>::storage_kind::seqlock);

void two_cells(world& w) {
  interlock::versioned<long long> a(0), b(0);
  bool a_first = false, b_first = false;
  w.thread([&] { a.store(1); });
  w.thread([&] { b.store(1); });
  w.thread([&] {
    const bool saw_a = a.version() == 1;
    a_first = b.version() == 0 && saw_a;
  });
  w.thread([&] {
    const bool saw_b = b.version() == 1;
    b_first = a.version() == 0 && saw_b;
  });
  w.finally([&] { testing::check(!a_first || !b_first, "one total order"); });
}

void torn(world& w) {
  interlock::versioned<pair> cell(pair{0, 0});
  w.thread([&] {
    cell.store(pair{1, 1});
    cell.store(pair{2, 2});
  });
  w.thread([&] {
    const auto seen = cell.load();
    testing::check(seen.value.a == seen.value.b, "not torn");
    testing::check(seen.value.a == static_cast<long long>(seen.version), "its own version");
  });
  w.finally([&] { testing::check(cell.load().value.a == 2, "the commits took effect"); });
}

void waiting(world& w) {
  auto* const cell = new interlock::versioned<long long>(0);
  w.thread([cell] {
    const auto seen = cell->wait(0);
    testing::check(seen.version == 1 && seen.value == 5, "the commit");
  });
  w.thread([cell] { cell->store(5); });
  w.finally([cell] { delete cell; });
}

}  // namespace

TEST_CASE("versioned: a load is whole and belongs to its version") { proved(torn); }

TEST_CASE("versioned: two readers agree on the order of commits to two cells") {
  proved(two_cells);
}

TEST_CASE("versioned: no update is lost") {
  proved([](world& w) {
    auto* const cell = new interlock::versioned<long long>(0);
    for (int t = 0; t < 2; ++t) {
      w.thread([cell] { cell->update([](long long& value) { value += 1; }); });
    }
    w.finally([cell] {
      testing::check(cell->load().value == 2 && cell->load().version == 2, "both took effect");
      delete cell;
    });
  });
}

TEST_CASE("versioned: one of two compare_and_set at the same version wins") {
  proved([](world& w) {
    interlock::versioned<long long> cell(0);
    int won = 0;
    std::atomic<int> winners{0};
    for (int t = 0; t < 2; ++t) {
      w.thread([&, t] {
        if (cell.compare_and_set(0, t + 1)) winners.fetch_add(1, rlx);
      });
    }
    w.finally([&] {
      won = winners.load(rlx);
      testing::check(won == 1, "one wins");
      testing::check(cell.load().version == 1, "one version");
    });
  });
}

TEST_CASE("versioned: a waiter misses no commit") { proved(waiting); }

TEST_CASE("versioned: each memory order is needed") {
  CHECK(survivors(torn, waiting, two_cells) == "");
}
