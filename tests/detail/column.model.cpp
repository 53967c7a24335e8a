// SPDX-License-Identifier: BSL-1.0
// detail::column_pool in every execution: a column is one owner's, its slots begin as zeros, and
// what is given back is handed out again.

#include "testing/front.hpp"

#include <interlock/detail/column.hpp>

namespace detail = interlock::detail;
using detail::column_pool;
using testing::world;

namespace {

constexpr std::size_t rows = 1;

// The way in for tests.
std::atomic<std::byte*>& newest_of(column_pool& pool);
template <auto Newest>
struct way_in {
  friend std::atomic<std::byte*>& newest_of(column_pool& pool) { return pool.*Newest; }
};
template struct way_in<&column_pool::newest_>;

// What stands behind the rows of a slab.
struct tail {
  std::atomic<std::uint64_t> vacant;
  std::byte* older;
};
tail& tail_of(std::byte* slab) { return *reinterpret_cast<tail*>(slab + rows * detail::row_bytes); }

// A pool that frees its slabs, and looks at them before.
struct pool {
  column_pool columns;

  // Effects: leaves so many columns in the first slab.
  void leave(std::uint64_t vacant) {
    columns.give_back(columns.take(rows), rows);
    std::byte* const slab = newest_of(columns).load(rlx);
    testing::check(slab != nullptr, "it has been published");
    tail_of(slab).vacant.store(vacant, rlx);
  }
  // Returns: how many slabs there are.
  int slabs() {
    int count = 0;
    for (std::byte* slab = newest_of(columns).load(rlx); slab != nullptr; ++count) {
      slab = tail_of(slab).older;
    }
    return count;
  }
  ~pool() {
    for (std::byte* slab = newest_of(columns).load(rlx); slab != nullptr;) {
      std::byte* const older = tail_of(slab).older;
      ::operator delete(slab, std::align_val_t{detail::row_bytes});
      slab = older;
    }
  }
};

// Each writes in its own.
void two_take(world& w, std::uint64_t vacant) {
  auto* const all = new pool;
  if (vacant != 0) all->leave(vacant);
  detail::stripe_slot* taken[2] = {};
  for (auto& mine : taken) {
    w.thread([&mine, all] {
      mine = all->columns.take(rows);
      testing::check(mine != nullptr, "there is memory");
      testing::check(mine->fetch_add(1, rlx) == 0, "begins as zero, and is nobody else's");
    });
  }
  w.finally([&, all, vacant] {
    testing::check(taken[0] != taken[1], "a column each");
    testing::check(taken[0]->load(rlx) == 1 && taken[1]->load(rlx) == 1, "a column each");
    if (vacant == 3) testing::check(all->slabs() == 1, "there were two");
    for (detail::stripe_slot* const mine : taken) column_pool::give_back(mine, rows);
    detail::stripe_slot* again[2] = {};
    for (auto& mine : again) mine = all->columns.take(rows);
    testing::check(vacant != 3 || all->slabs() == 1, "both were given back");
    delete all;
  });
}

void two_take_of_two(world& w) { two_take(w, 3); }
void two_take_of_one(world& w) { two_take(w, 1); }
void two_take_of_none(world& w) { two_take(w, 0); }

// One column, which changes hands: the second owner sees nothing of what the first one did.
void changes_hands(world& w) {
  auto* const all = new pool;
  all->leave(1);
  detail::stripe_slot* const first = all->columns.take(rows);
  bool same = false;
  detail::stripe_slot* second = nullptr;
  w.thread([=] {
    first->store(77, rlx);  // as a restartable sequence does
    column_pool::give_back(first, rows);
  });
  w.thread([&, all, first] {
    second = all->columns.take(rows);
    testing::check(second != nullptr, "there is memory");
    same = second == first;
    second->fetch_add(1, rlx);
  });
  w.finally([&, all] {
    testing::check(second->load(rlx) == 1, "its own alone");
    w.outcome(same ? 1 : 0);
    delete all;
  });
}

// Two give back at once.
void two_give_back(world& w) {
  auto* const all = new pool;
  all->leave(3);
  detail::stripe_slot* taken[2] = {};
  for (auto& mine : taken) mine = all->columns.take(rows);
  for (auto& mine : taken) w.thread([&mine] { column_pool::give_back(mine, rows); });
  w.finally([=] {
    static_cast<void>(all->columns.take(rows));
    static_cast<void>(all->columns.take(rows));
    testing::check(all->slabs() == 1, "both were given back");
    delete all;
  });
}

// Memory may fail once: then one of them has none, or both share a slab that came later.
void without_memory(world& w) {
  auto* const all = new pool;
  detail::stripe_slot* taken[2] = {};
  for (auto& mine : taken) w.thread([&mine, all] { mine = all->columns.take(rows); });
  w.finally([&, all] {
    w.outcome(taken[0] == nullptr, taken[1] == nullptr);
    testing::check(taken[0] != taken[1], "never both");
    delete all;
  });
}

}  // namespace

TEST_CASE("column_pool: each taker has a column of its own") {
  proved(two_take_of_two);
  proved(two_take_of_one);
  proved(two_take_of_none);
  proved(two_give_back);
}

TEST_CASE("column_pool: a column that changes hands begins anew") {
  const testing::report all = proved(changes_hands);
  CHECK(seen(all) == outcomes{"0", "1"});
}

TEST_CASE("column_pool: without memory there is no column, and nothing else is lost") {
  testing::options how;
  how.allocation_failures = 1;
  CHECK(seen(proved(without_memory, how)) == outcomes{"0 0", "0 1", "1 0"});
}

TEST_CASE("column_pool: mutants", "[.mutants]") {
  mutants({two_take_of_two, two_take_of_one, two_take_of_none, two_give_back, changes_hands});
}
