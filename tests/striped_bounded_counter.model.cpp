// SPDX-License-Identifier: BSL-1.0
// striped_bounded_counter in every execution of its portable form: within the bounds, refused only
// if need be, whole and in parts and on the way from one to the other.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/striped_bounded_counter.hpp>
#include <interlock/testing/explored_history.hpp>
#include <interlock/testing/specifications.hpp>

#include <array>
#include <limits>
#include <mutex>
#include <new>

namespace detail = interlock::detail;
using interlock::striped_bounded_counter;
using testing::bounded_call;
using testing::bounded_state;
using testing::world;
using kind = testing::bounded_call::kind;
using way = detail::escrow::way;

namespace {

// The way in for tests: to begin with parts of a size, and near the moment when a value goes apart.
using words = std::atomic<std::uint64_t>;
words& state_of(striped_bounded_counter& c);
words& whole_of(striped_bounded_counter& c);
words& pool_of(striped_bounded_counter& c);
std::uint32_t& lent_of(striped_bounded_counter& c);
std::atomic<std::uint32_t>& dues_of(striped_bounded_counter& c);
template <auto State, auto Whole, auto Pool, auto Lent, auto Dues>
struct way_in {
  friend words& state_of(striped_bounded_counter& c) { return c.*State; }
  friend words& whole_of(striped_bounded_counter& c) { return c.*Whole; }
  friend words& pool_of(striped_bounded_counter& c) { return c.*Pool; }
  friend std::uint32_t& lent_of(striped_bounded_counter& c) { return c.*Lent; }
  friend std::atomic<std::uint32_t>& dues_of(striped_bounded_counter& c) { return c.*Dues; }
};
template struct way_in<&striped_bounded_counter::state_, &striped_bounded_counter::whole_,
                       &striped_bounded_counter::pool_, &striped_bounded_counter::lent_,
                       &striped_bounded_counter::dues_>;

// Chance gives a thread its row; here the test does.
void use_row(unsigned index) { detail::stripe_place::of_this_thread().index = index; }

// Effects: moves units from the pool to the slot of a row.
// Preconditions: the value is apart.
void lend(striped_bounded_counter& c, unsigned row, std::int64_t share, std::int64_t room) {
  auto& slot = detail::slot_of(state_of(c).load(sc), row);
  slot.fetch_add(detail::escrow::units(way::down, static_cast<std::uint64_t>(share)) +
                     detail::escrow::units(way::up, static_cast<std::uint64_t>(room)),
                 sc);
  pool_of(c).fetch_sub(static_cast<std::uint64_t>(share), sc);
  lent_of(c) += static_cast<std::uint32_t>(share + room);
}

// The library asks the system once and remembers: not within an execution, which would do something
// else the next time.
const std::size_t rows = detail::restartable::rows();

// So much that a part of it, 1 in 2 * rows, serves more than 32 requests for one.
const auto plenty = static_cast<std::int64_t>(100 * rows);

// The library's slots come from memory that it keeps, which would be a leftover of the execution
// before. Here they live as long as the counter.
class counter {
public:
  counter(std::int64_t initial, std::int64_t min, std::int64_t max)
      : memory_(::operator new(rows * detail::row_bytes, std::align_val_t{detail::row_bytes})),
        it_(initial, min, max) {
    auto* const first = static_cast<detail::stripe_slot*>(memory_);
    const std::uint64_t state = detail::state_of(first);
    for (std::size_t row = 0; row < rows; ++row) {
      ::new (static_cast<void*>(&detail::slot_of(state, row))) detail::stripe_slot{0};
    }
    state_of(it_).store(state, sc);
  }
  counter(const counter&) = delete;
  counter& operator=(const counter&) = delete;
  ~counter() {
    state_of(it_).store(detail::no_slots, sc);
    ::operator delete(memory_, std::align_val_t{detail::row_bytes});
  }
  striped_bounded_counter& operator*() noexcept { return it_; }
  striped_bounded_counter* operator->() noexcept { return &it_; }

private:
  void* const memory_;
  striped_bounded_counter it_;
};

// What the counter must not be. This one sums all parts, then takes from its own: the sum is old.
class oversells {
public:
  oversells(int a, int b) : parts_{a, b} {}
  bool try_sub(unsigned row, int n) {
    int sum = 0;
    for (auto& part : parts_) sum += part.load(sc);
    if (sum < n) return false;
    parts_[row].fetch_sub(n, sc);
    return true;
  }
  int load() { return parts_[0].load(sc) + parts_[1].load(sc); }

private:
  std::array<std::atomic<int>, 2> parts_;
};

// And this one looks for units part by part, and refuses if it found none: they passed behind it.
class refuses_early {
public:
  refuses_early(int a, int b) : parts_{a, b} {}
  bool try_sub(unsigned row, int n) {
    for (unsigned i = 0; i < 2; ++i) {
      auto& part = parts_[(row + i) % 2];
      int seen = part.load(sc);
      while (seen >= n) {
        if (part.compare_exchange_weak(seen, seen - n, sc, sc)) return true;
      }
    }
    return false;
  }
  bool try_add(unsigned row, int n) {
    parts_[row].fetch_add(n, sc);
    return true;
  }

private:
  std::array<std::atomic<int>, 2> parts_;
};

// And here who takes everything back looks at each slot, then empties it: what is taken in between
// is there twice.
class reads_then_empties {
public:
  reads_then_empties(int a, int b) : parts_{a, b} {}
  bool try_sub(unsigned row, int n) {
    int seen = parts_[row].load(sc);
    while (seen >= n) {
      if (parts_[row].compare_exchange_weak(seen, seen - n, sc, sc)) return true;
    }
    const std::lock_guard guard(lock_);
    for (auto& part : parts_) {
      pool_ += part.load(sc);
      part.store(0, sc);
    }
    if (pool_ < n) return false;
    pool_ -= n;
    return true;
  }
  int load() { return parts_[0].load(sc) + parts_[1].load(sc) + pool_; }

private:
  std::array<std::atomic<int>, 2> parts_;
  detail::futex_mutex lock_;
  int pool_ = 0;
};

// ---- histories ----------------------------------------------------------------------------------

struct request {
  kind what;
  std::int64_t amount = 0;
};
constexpr request sub(std::int64_t n) { return {kind::sub, n}; }
constexpr request add(std::int64_t n) { return {kind::add, n}; }
constexpr request look{kind::load};

void answer(striped_bounded_counter& c, bounded_call& call) {
  switch (call.what) {
    case kind::add: call.granted = c.try_add(call.amount); break;
    case kind::sub: call.granted = c.try_sub(call.amount); break;
    case kind::load: call.seen = c.load(); break;
  }
}

// Each thread works in a row of its own; some order of the requests explains the answers, and what
// is left.
void history(world& w, bounded_state from, void (*begin)(striped_bounded_counter&),
             std::initializer_list<std::vector<request>> threads) {
  auto* const c = new counter(from.value, from.min, from.max);
  auto* const calls = new testing::explored_history<bounded_call>;
  begin(**c);
  unsigned row = 0;
  for (const std::vector<request>& mine : threads) {
    w.thread([=, row = row++] {
      use_row(row);
      for (const request& one : mine) {
        calls->record({one.what, one.amount}, [&](bounded_call& call) { answer(**c, call); });
      }
    });
  }
  w.finally([=] {
    calls->record({kind::load}, [&](bounded_call& call) { answer(**c, call); });
    calls->check(from);
    testing::check((*c)->load_approx() == (*c)->load(), "what is read at rest is exact");
    delete calls;
    delete c;
  });
}

using start = void (*)(striped_bounded_counter&);
void whole(striped_bounded_counter&) {}
void apart(striped_bounded_counter& c) { c.spread(); }
void one_each(striped_bounded_counter& c) {
  c.spread();
  lend(c, 0, 1, 0);
  lend(c, 1, 1, 0);
}
void both_ways_each(striped_bounded_counter& c) {
  c.spread();
  lend(c, 0, 1, 1);
  lend(c, 1, 1, 1);
}
void larger_parts_each(striped_bounded_counter& c) {
  c.spread();
  lend(c, 0, 3, 3);
  lend(c, 1, 3, 3);
}
void all_elsewhere(striped_bounded_counter& c) {
  c.spread();
  lend(c, 1, 2, 1);
}
void about_to_spread(striped_bounded_counter& c) { dues_of(c).store(0, sc); }

void explored(bounded_state from, start begin, std::initializer_list<std::vector<request>> all) {
  proved([=](world& w) { history(w, from, begin, all); }, whole_waits());
}

// ---- what parts may not do ----------------------------------------------------------------------

// Two parts of one unit each, and three requests for one.
template <class Parts>
void sells_two(world& w) {
  auto* const parts = new Parts(1, 1);
  int sold[3] = {};
  for (unsigned t = 0; t < 3; ++t) {
    w.thread([&mine = sold[t], parts, t] { mine = parts->try_sub(t % 2, 1) ? 1 : 0; });
  }
  w.finally([&sold, parts] {
    testing::check(sold[0] + sold[1] + sold[2] + parts->load() == 2, "no unit more, none less");
    testing::check(parts->load() >= 0, "within the bounds");
    delete parts;
  });
}

// Somebody moves a unit from the second row to the first. There is one at every moment.
void never_without(world& w) {
  refuses_early parts(1, 1);
  w.thread([&] {
    testing::check(parts.try_add(0, 1), "no limit");
    testing::check(parts.try_sub(1, 1), "there was one");
  });
  w.thread([&] { testing::check(parts.try_sub(0, 1), "there was one at every moment"); });
  w.thread([&] { (void)parts.try_sub(0, 1); });
  w.finally([] {});
}

// Each takes a unit of its own and puts it back, in a row of its own: nobody may be refused.
void enough_for_all(world& w, int threads, start begin) {
  auto* const c = new counter(threads, 0, threads);
  begin(**c);
  for (int t = 0; t < threads; ++t) {
    w.thread([c, t] {
      use_row(static_cast<unsigned>(t % 2));
      testing::check((*c)->try_sub(1), "there was enough at every moment");
      testing::check((*c)->try_add(1), "there was room at every moment");
    });
  }
  w.finally([c] { delete c; });
}

// The last one to leave destroys it.
void last_user(world& w, int threads, start begin) {
  auto* const c = used_by<counter>::make(threads, 3, 0, 3);
  begin(***c);
  for (int t = 0; t < threads; ++t) {
    w.thread([c, t] {
      use_row(static_cast<unsigned>(t % 2));
      (void)(**c)->try_sub(2);
      c->leave();
    });
  }
  w.finally([] {});
}

// ---- the library's own slots --------------------------------------------------------------------

// The library's memory for slots, empty in each execution. It is lost at the end.
void fresh_columns() { ::new (static_cast<void*>(&detail::the_columns)) detail::column_pool; }

// One spreads it; another one may, if it collides with a third or with the first one's requests.
void spreads(world& w, int others, std::int64_t amount) {
  fresh_columns();
  auto* const c = new striped_bounded_counter(plenty, 0, 5 * plenty);
  about_to_spread(*c);
  auto* const taken = new std::int64_t[4]{};
  for (int t = 0; t < others; ++t) {
    w.thread([=] {
      use_row(0);
      taken[t] = c->try_sub(amount) ? amount : 0;
    });
  }
  w.thread([=] {
    c->spread();
    use_row(0);
    for (int i = 0; i < 2; ++i) taken[3] += c->try_sub(1) ? 1 : 0;
  });
  w.finally([=] {
    std::int64_t sold = 0;
    for (int t = 0; t < 4; ++t) sold += taken[t];
    testing::check(sold + c->load() == plenty, "each of them was counted");
    testing::check(taken[3] == 2, "there were two at every moment");
    delete[] taken;
    delete c;
  });
}
void one_spreads(world& w) { spreads(w, 1, 1); }
void one_spreads_one_takes_most(world& w) { spreads(w, 1, plenty - 2); }
void two_spread(world& w) { spreads(w, 2, 1); }

// Whoever destroys it may not have seen that it has slots.
void gives_slots_back(world& w) {
  fresh_columns();
  auto* const first = detail::the_columns.take(rows);
  detail::column_pool::give_back(first, rows);
  auto* const c = used_by<striped_bounded_counter>::make(2, plenty, 0, 5 * plenty);
  w.thread([=] {
    testing::check((*c)->try_sub(1), "there is enough");
    c->leave();
  });
  w.thread([=] {
    (*c)->spread();
    c->leave();
  });
  w.finally([=] {
    testing::check(detail::the_columns.take(rows) == first, "its slots are there for the next");
  });
}

// The same; the first one spreads it, too, when the other has done so and it is whole again.
void gives_slots_back_once(world& w) {
  fresh_columns();
  auto* const first = detail::the_columns.take(rows);
  detail::column_pool::give_back(first, rows);
  auto* const c = new striped_bounded_counter(plenty, 0, 5 * plenty);
  w.thread([=] {
    testing::check(c->try_sub(1), "there is enough");
    c->spread();
    testing::check(c->try_sub(1), "there is enough");
  });
  w.thread([=] {
    c->spread();
    testing::check(!c->try_sub(plenty + 1), "there are never so many");
  });
  w.finally([=] {
    testing::check(c->load() == plenty - 2, "each of them was counted");
    delete c;
    testing::check(detail::the_columns.take(rows) == first, "its slots are there for the next");
  });
}

void approximation(world& w) {
  fresh_columns();
  auto* const c = new striped_bounded_counter(plenty, 0, plenty + 1);
  w.thread([=] {
    c->spread();
    (void)c->try_sub(1);
    (void)c->try_add(2);
  });
  w.thread([=] {
    const auto seen = c->load_approx();
    testing::check(0 <= seen && seen <= plenty + 1, "within the bounds");
  });
  w.finally([=] { delete c; });
}

// At rest it is exact, whatever the thread has seen before.
void approximation_at_rest(world& w) {
  fresh_columns();
  auto* const c = new striped_bounded_counter(plenty, 0, plenty + 1);
  auto* const done = new std::atomic<bool>(false);
  w.thread([=] {
    use_row(0);
    for (int i = 0; i < 2; ++i) testing::check(c->try_sub(1), "there is enough");
    if (done->load(acq)) testing::check(c->load_approx() == plenty - 4, "nobody changes it now");
  });
  w.thread([=] {
    use_row(0);
    c->spread();
    for (int i = 0; i < 2; ++i) testing::check(c->try_sub(1), "there is enough");
    done->store(true, rel);
  });
  w.finally([=] {
    delete done;
    delete c;
  });
}

// The widest range is never whole, and gets its slots with the first request.
void approximation_of_any(world& w) {
  fresh_columns();
  using limits = std::numeric_limits<std::int64_t>;
  auto* const c = new striped_bounded_counter(0, limits::min(), limits::max());
  w.thread([=] {
    for (std::int64_t expected = 0; expected > -3; --expected) {
      testing::check(c->load_approx() == expected, "nobody else changes it");
      testing::check(c->try_sub(1), "there is enough");
    }
  });
  w.thread([=] { (void)c->load_approx(); });
  w.finally([=] {
    testing::check(c->load_approx() == -3 && c->load() == -3, "what was granted adds up");
    delete c;
  });
}

testing::options losing_memory() {
  testing::options how = whole_waits();
  how.leaks = false;
  return how;
}

// ---- what happened before -----------------------------------------------------------------------

// Who takes a unit sees what was done before it was put there, wherever it has been since.
void hands_on(world& w, start begin, unsigned from_row, unsigned to_row, int units) {
  auto* const c = new counter(0, 0, 8);
  begin(**c);
  auto* const goods = new int(0);
  w.thread([=] {
    use_row(from_row);
    *goods = 5;
    testing::check((*c)->try_add(units), "there is room");
  });
  w.thread([=] {
    use_row(to_row);
    if ((*c)->try_sub(units)) testing::check(*goods == 5, "what was done before is visible");
  });
  w.finally([=] {
    delete goods;
    delete c;
  });
}
void room_each(striped_bounded_counter& c) {
  c.spread();
  lend(c, 0, 0, 2);
  lend(c, 1, 0, 2);
}
void hands_on_in_slot(world& w) { hands_on(w, room_each, 0, 0, 1); }
void hands_on_by_pool(world& w) { hands_on(w, apart, 0, 1, 1); }
void hands_on_taken_back(world& w) { hands_on(w, room_each, 0, 1, 1); }
void hands_on_whole(world& w) { hands_on(w, whole, 0, 1, 1); }

// A third one takes everything back in between, and the value is whole then; or it lends again.
void hands_on_through(world& w, start begin, std::int64_t asked) {
  auto* const c = new counter(0, 0, 5 * plenty);
  begin(**c);
  auto* const goods = new int(0);
  w.thread([=] {
    use_row(0);
    *goods = 5;
    testing::check((*c)->try_add(2 * plenty), "there is room");
  });
  w.thread([=] {
    use_row(1);
    (void)(*c)->try_sub(asked);
  });
  w.thread([=] {
    use_row(1);
    if ((*c)->try_sub(2)) testing::check(*goods == 5, "what was done before is visible");
  });
  w.finally([=] {
    delete goods;
    delete c;
  });
}
void room_for_all(striped_bounded_counter& c) {
  c.spread();
  lend(c, 0, 0, 2 * plenty);
}
void hands_on_settled(world& w) { hands_on_through(w, room_for_all, 2 * plenty + 1); }
void hands_on_lent(world& w) { hands_on_through(w, room_for_all, 1); }

// Each takes the unit of one counter, then looks at the other.
void take_then_look(world& w, start begin_a, start begin_b) {
  auto* const a = new counter(1, 0, 4);
  auto* const b = new counter(1, 0, 4);
  begin_a(**a);
  begin_b(**b);
  auto* const saw = new bool[2]{};
  w.thread([=] {
    use_row(0);
    testing::check((*a)->try_sub(1), "there is one");
    saw[0] = (*b)->load() == 0;
  });
  w.thread([=] {
    use_row(1);
    testing::check((*b)->try_sub(1), "there is one");
    saw[1] = (*a)->load() == 0;
  });
  w.finally([=] {
    testing::check(saw[0] || saw[1], "one of them sees the other");
    delete[] saw;
    delete a;
    delete b;
  });
}
void in_row_0(striped_bounded_counter& c) {
  c.spread();
  lend(c, 0, 1, 0);
}
void in_row_1(striped_bounded_counter& c) {
  c.spread();
  lend(c, 1, 1, 0);
}
void look_whole(world& w) { take_then_look(w, whole, whole); }
void look_apart(world& w) { take_then_look(w, in_row_0, in_row_1); }
void look_mixed(world& w) { take_then_look(w, in_row_0, whole); }

// As above; the first counter goes apart meanwhile, so that the unit is taken from a slot.
void look_while_it_goes_apart(world& w) {
  auto* const a = new counter(20, 0, 20);
  auto* const b = new counter(1, 0, 4);
  auto* const saw = new bool[2]{};
  w.thread([=] { (*a)->spread(); });
  w.thread([=] {
    use_row(0);
    testing::check((*a)->try_sub(1), "there is one");
    saw[0] = (*b)->load() == 0;
  });
  w.thread([=] {
    use_row(1);
    testing::check((*b)->try_sub(1), "there is one");
    saw[1] = (*a)->load() == 19;
  });
  w.finally([=] {
    testing::check(saw[0] || saw[1], "one of them sees the other");
    delete[] saw;
    delete a;
    delete b;
  });
}

// Two readers, one of which learns of an addition from a refusal: that it is full, it may have
// found out by a failed compare-and-swap.
void two_readers(world& w) {
  auto* const a = new striped_bounded_counter(0, 0, 1);
  auto* const b = new striped_bounded_counter(0, 0, 1);
  auto* const first = new bool[2]{};
  w.thread([=] { (void)a->try_add(1); });
  w.thread([=] { testing::check(b->try_add(1), "nobody else adds"); });
  w.thread([=] { first[0] = !a->try_add(1) && b->load() == 0; });
  w.thread([=] { first[1] = b->load() == 1 && a->load() == 0; });
  w.finally([=] {
    testing::check(!first[0] || !first[1], "one order for all");
    delete[] first;
    delete a;
    delete b;
  });
}

// After a refusal the value is whole: the next one is a load. It stays so until enough was paid.
void whole_near_bound(world& w) {
  counter c(2, 0, 4);
  one_each(*c);
  testing::check(!c->try_sub(3), "there are two");
  testing::check(lent_of(*c) == 0 && whole_of(*c).load(sc) == 2, "whole again");
  testing::check(dues_of(*c).load(sc) > 512, "for some time");
  w.finally([] {});
}

// And then it is in parts again, if these are large enough.
void apart_when_paid(world& w) {
  constexpr std::uint64_t parts = std::uint64_t{1} << 63U;
  counter large(plenty, 0, 2 * plenty), small(2, 0, 4);
  for (counter* const c : {&large, &small}) {
    dues_of(**c).store(2, sc);
    testing::check((*c)->try_add(1) && (*c)->try_sub(0), "there is room");
    testing::check(whole_of(**c).load(sc) != parts && dues_of(**c).load(sc) == 1, "one has paid");
    testing::check((*c)->try_sub(1), "it is there");
  }
  testing::check(whole_of(*large).load(sc) == parts, "in parts");
  testing::check(whole_of(*small).load(sc) == 2 && dues_of(*small).load(sc) > 512, "still whole");
  w.finally([] {});
}

}  // namespace

TEST_CASE("striped_bounded_counter: some order of the requests explains each answer, while whole") {
  REQUIRE(rows >= 2);
  explored({1, 0, 2}, whole, {{sub(1), add(1)}, {add(1), sub(2)}, {look}});
  explored({1, 0, 1}, whole, {{sub(1)}, {sub(1)}, {add(1)}, {add(1)}});
}

TEST_CASE("striped_bounded_counter: some order of the requests explains each answer, in parts") {
  explored({2, 0, 4}, one_each, {{sub(2)}, {sub(1)}});
  explored({2, 0, 4}, one_each, {{sub(1), sub(1)}, {sub(1), add(1)}});
  explored({2, 0, 4}, both_ways_each, {{sub(2), add(1)}, {add(2), sub(1)}});
  explored({2, 0, 4}, all_elsewhere, {{sub(1), look}, {sub(1), add(2)}});
  explored({8, 0, 16}, apart, {{sub(1), sub(1)}, {sub(1), add(1)}});
  explored({2, 0, 4}, one_each, {{sub(2)}, {sub(1)}, {look}});
  explored({-7, -9, -5}, both_ways_each, {{add(1)}, {add(2)}, {sub(1)}});
  explored({3, 0, 6}, both_ways_each, {{sub(1), sub(2)}, {add(2), sub(1)}, {look}});
  explored({2, 0, 4}, one_each, {{sub(1)}, {sub(1)}, {add(1)}, {sub(2)}});
  explored({3, 0, 6}, both_ways_each, {{sub(1)}, {add(2)}, {sub(2)}, {look}});
  explored({3, 0, 6}, both_ways_each, {{sub(1), sub(1)}, {add(1), sub(1)}, {add(1), look}});
}

TEST_CASE("striped_bounded_counter: some order of the requests explains each answer, spreading") {
  explored({plenty, 0, 5 * plenty}, about_to_spread, {{sub(1), sub(1)}, {sub(1), look}});
  explored({plenty, 0, 5 * plenty}, about_to_spread, {{sub(1)}, {sub(1)}, {sub(plenty)}});
}

TEST_CASE("striped_bounded_counter: three with two requests, in larger parts", "[.deep]") {
  explored({8, 0, 16}, larger_parts_each, {{sub(1), sub(3)}, {add(3), sub(1)}, {add(1), look}});
  explored({plenty, 0, 5 * plenty}, about_to_spread, {{sub(1), add(1)}, {sub(1), add(1)}, {look}});
}

TEST_CASE("striped_bounded_counter: a sum that is old sells too much") {
  failing(sells_two<oversells>);
  failing(sells_two<reads_then_empties>, whole_waits());
}

TEST_CASE("striped_bounded_counter: who could be served at every moment is not refused") {
  proved([](world& w) { enough_for_all(w, 2, apart); }, whole_waits());
  proved([](world& w) { enough_for_all(w, 2, one_each); }, whole_waits());
  failing(never_without);
}

TEST_CASE("striped_bounded_counter: the last user may destroy it") {
  proved([](world& w) { last_user(w, 2, one_each); }, whole_waits());
  proved([](world& w) { last_user(w, 3, whole); }, whole_waits());
}

TEST_CASE("striped_bounded_counter: two that spread it make one set of slots") {
  testing::options how = losing_memory();
  for (const unsigned failures : {0U, 1U}) {
    how.allocation_failures = failures;
    proved(one_spreads, how);
    proved(one_spreads_one_takes_most, how);
  }
  proved(two_spread, losing_memory());
  proved(gives_slots_back, losing_memory());
  proved(gives_slots_back_once, losing_memory());
}

TEST_CASE("striped_bounded_counter: an approximation is within the bounds") {
  proved(approximation, losing_memory());
  proved(approximation_at_rest, losing_memory());
  proved(approximation_of_any, losing_memory());
}

TEST_CASE("striped_bounded_counter: near a bound it is whole until that was paid for") {
  proved(whole_near_bound, whole_waits());
  proved(apart_when_paid, whole_waits());
}

TEST_CASE("striped_bounded_counter: hands on what was done before, in one order for all counters") {
  for (auto* body : {hands_on_in_slot, hands_on_by_pool, hands_on_taken_back, hands_on_whole,
                     hands_on_settled, hands_on_lent, look_whole, look_apart, look_mixed,
                     look_while_it_goes_apart, two_readers}) {
    proved(body, whole_waits());
  }
}

TEST_CASE("striped_bounded_counter: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = losing_memory();
  mutants({hands_on_in_slot, hands_on_by_pool, hands_on_taken_back, hands_on_whole,
           hands_on_settled, hands_on_lent, look_whole, look_apart, look_mixed,
           look_while_it_goes_apart, two_readers, one_spreads, one_spreads_one_takes_most,
           two_spread, gives_slots_back, gives_slots_back_once, approximation,
           approximation_at_rest, approximation_of_any, whole_near_bound, apart_when_paid,
           [](world& w) { enough_for_all(w, 2, one_each); },
           [](world& w) { last_user(w, 2, one_each); },
           [](world& w) {
             history(w, {2, 0, 4}, both_ways_each, {{sub(2), add(1)}, {add(2), sub(1)}});
           },
           [](world& w) { history(w, {2, 0, 4}, all_elsewhere, {{sub(1), look}, {sub(1)}}); },
           [](world& w) {
             history(w, {plenty, 0, 5 * plenty}, about_to_spread,
                     {{sub(1), sub(1)}, {sub(1), look}});
           }},
          how);
}
