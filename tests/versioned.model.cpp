// SPDX-License-Identifier: BSL-1.0
// versioned in every execution: no torn value, no lost commit, no missed wake-up.

#include "testing/front.hpp"

#include <interlock/versioned.hpp>

#include <string>

using testing::world;

namespace {

struct pair {  // two words: a torn read shows
  long long a, b;
};
static_assert(interlock::versioned<pair>::storage ==
              interlock::versioned<pair>::storage_kind::seqlock);

}  // namespace

TEST_CASE("versioned: a load is whole and belongs to its version") {
  proved([](world& w) {
    interlock::versioned<pair> cell(pair{0, 0});
    w.thread([&] { cell.store(pair{1, 1}); });
    w.thread([&] {
      const auto seen = cell.load();
      testing::check(seen.value.a == seen.value.b, "not torn");
      testing::check(seen.value.a == static_cast<long long>(seen.version), "its own version");
    });
    w.finally([&] { testing::check(cell.load().value.a == 1, "the commit took effect"); });
  });
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

TEST_CASE("versioned: a waiter misses no commit") {
  proved([](world& w) {
    auto* const cell = new interlock::versioned<long long>(0);
    w.thread([cell] {
      const auto seen = cell->wait(0);
      testing::check(seen.version == 1 && seen.value == 5, "the commit");
    });
    w.thread([cell] { cell->store(5); });
    w.finally([cell] { delete cell; });
  });
}
