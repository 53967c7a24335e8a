// SPDX-License-Identifier: BSL-1.0
// Histories of explored threads: the order of operations is happens-before.

#include "front.hpp"

using testing::here;
using testing::moment;
using testing::precedes;
using testing::world;

namespace {

// The first thread ends an operation and then says so; the second begins one when it has heard.
void one_tells_the_other(world& w, std::memory_order store, std::memory_order load) {
  atomic<int> told{0};
  moment ended[2], begun[2];
  bool heard = false;
  w.thread([&] {
    begun[0] = here();
    ended[0] = here();
    told.store(1, store);
  });
  w.thread([&] {
    heard = told.load(load) == 1;
    begun[1] = here();
    ended[1] = here();
  });
  w.finally([&] {
    const moment last = here();
    w.outcome(heard, precedes(ended[0], begun[1]), precedes(ended[1], begun[0]));
    for (int i = 0; i < 2; ++i) {
      testing::check(precedes(begun[i], ended[i]) && !precedes(ended[i], begun[i]), "as taken");
      testing::check(precedes(ended[i], last) && !precedes(last, begun[i]), "the body joined it");
    }
  });
}

// What a store publishes is what came before it, not the end of the operation that it belongs to.
void the_store_is_inside(world& w) {
  atomic<int> told{0};
  moment ended, begun, first = here();
  bool heard = false;
  w.thread([&] {
    testing::check(precedes(first, here()), "the body was there before");
    told.store(1, rel);
    ended = here();
  });
  w.thread([&] {
    heard = told.load(acq) == 1;
    begun = here();
  });
  w.finally([&] { w.outcome(heard, precedes(ended, begun)); });
}

}  // namespace

TEST_CASE("a moment precedes another if happens-before says so") {
  CHECK(seen(proved([](world& w) { one_tells_the_other(w, rel, acq); })) ==
        outcomes{"0 0 0", "1 1 0"});
  CHECK(seen(proved([](world& w) { one_tells_the_other(w, rlx, rlx); })) ==
        outcomes{"0 0 0", "1 0 0"});
  CHECK(seen(proved(the_store_is_inside)) == outcomes{"0 0", "1 0"});
}

TEST_CASE("threads of a second round come after all of the first") {
  proved([](world& w) {
    moment ended, begun;
    w.thread([&] { ended = here(); });
    w.join();
    w.thread([&] { begun = here(); });
    w.finally([&] { testing::check(precedes(ended, begun), "joined in between"); });
  });
}
