// SPDX-License-Identifier: BSL-1.0
// striped_counter in every execution of its portable form: nothing lost, exact sums at one moment,
// loads between what was done and what was begun, while it spreads and after.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/striped_counter.hpp>
#include <interlock/testing/explored_history.hpp>

#include <string>
#include <vector>

namespace detail = interlock::detail;
namespace twin = interlock::detail::restartable_twin;
using interlock::striped_counter;
using testing::world;

namespace {

// Chance gives a thread its row; here the test does.
void use_row(unsigned index) { detail::stripe_place::of_this_thread().index = index; }

// The way in for tests.
std::atomic<std::byte*>& newest_of(detail::column_pool& pool);
std::atomic<std::uint64_t>& word_of(striped_counter& c);
template <auto Newest, auto State>
struct way_in {
  friend std::atomic<std::byte*>& newest_of(detail::column_pool& pool) { return pool.*Newest; }
  friend std::atomic<std::uint64_t>& word_of(striped_counter& c) { return c.*State; }
};
template struct way_in<&detail::column_pool::newest_, &striped_counter::state_>;

// A slab that is made before any exploration and survives them all.
std::byte* const slab = [] {
  const std::size_t rows = detail::restartable::rows();
  detail::column_pool::give_back(detail::the_columns.take(rows), rows);
  return newest_of(detail::the_columns).load(rlx);
}();
constexpr std::uint64_t all_columns = ~std::uint64_t{0};

std::atomic<std::uint64_t>& vacant_columns() {
  return *reinterpret_cast<std::atomic<std::uint64_t>*>(slab + detail::restartable::rows() *
                                                                   detail::row_bytes);
}

// Each body begins with this: an abandoned run leaves its columns taken. What earlier users counted
// is still in there.
void begin() {
  newest_of(detail::the_columns).store(slab, rlx);
  vacant_columns().store(all_columns, rlx);
  for (unsigned row = 0; row < 2; ++row) {
    for (unsigned column = 0; column < 2; ++column) {
      auto* const first = reinterpret_cast<detail::stripe_slot*>(slab) + column;
      detail::slot_of(detail::state_of(first), row).store(77, rlx);
    }
  }
}

// And each ends with this, when its counters are gone.
void columns_are_back() {
  testing::check(vacant_columns().load(rlx) == all_columns, "each column was given back");
}

// ---- what was called, and the object that it is compared with -------------------------------------

struct call {
  enum class kind { add, exact, exchange, load } what = kind::add;
  std::int64_t amount = 0;  // add; exchange: the value put there
  std::int64_t seen = 0;    // the others: the value found

  friend std::string describe(const call& c) {
    constexpr const char* names[] = {"add ", "load_exact saw ", "exchange saw ", "load saw "};
    return names[static_cast<int>(c.what)] +
           std::to_string(c.what == kind::add ? c.amount : c.seen);
  }
};

struct state {
  std::int64_t value = 0;

  bool apply(const call& c, bool answered) {
    if (c.what == call::kind::add) {
      value += c.amount;
      return true;
    }
    if (answered && c.seen != value) return false;
    if (c.what == call::kind::exchange) value = c.amount;
    return true;
  }
  static bool reads(const call& c) { return c.what == call::kind::exact; }
  [[nodiscard]] std::size_t hash() const { return static_cast<std::size_t>(value); }
  friend bool operator==(const state&, const state&) = default;
};

// Additions of nothing less than zero, and loads: each load is no less than what happens before it,
// and no more than what does not happen after it.
testing::verdict between(const std::vector<testing::explored_history<call>::entry>& all) {
  testing::verdict found;
  for (const auto& one : all) {
    if (one.op.what != call::kind::load) continue;
    std::int64_t least = 0, most = 0;
    for (const auto& other : all) {
      if (other.op.what != call::kind::add) continue;
      if (testing::precedes(other.when, one.when)) least += other.op.amount;
      if (!testing::precedes(one.when, other.when)) most += other.op.amount;
    }
    if (one.op.seen < least || one.op.seen > most) {
      found.violation = describe(one.op) + ", not " + std::to_string(least) + " to " +
                        std::to_string(most);
    }
  }
  return found;
}

// ---- the protocol with mistakes -------------------------------------------------------------------

enum class mistake {
  none,
  no_interrupt,         // the freezer only reads the slots
  mark_after_sum,       // and marks the state too late
  base_before_slots,    // the exact sum reads the base word first
  spread_over_freezer,  // the marks of those who are in are lost
  load_base_last,       // a load reads the base word after the slots
  sum_then_zero         // a drain sets what it has summed to zero
};

template <mistake M>
class seeded {
public:
  void add(std::int64_t n) {
    const auto amount = static_cast<std::uint64_t>(n);
    if (!twin::add(state_, amount)) base_.fetch_add(amount, sc);
  }
  void spread() {
    std::uint64_t seen = state_.load(rlx);
    if (detail::has_slots(seen)) return;
    const std::size_t rows = detail::restartable::rows();
    const std::uint64_t where = detail::state_of(detail::the_columns.take(rows));
    if (M == mistake::spread_over_freezer) {
      state_.store(where, sc);  // as if there were none
      return;
    }
    while (!state_.compare_exchange_strong(seen, detail::with_slots(seen, where), sc, rlx)) {
    }
  }
  std::int64_t load() const {
    std::uint64_t total = M == mistake::load_base_last ? 0 : base_.load(acq);
    total += looked_at(state_.load(acq));
    if (M == mistake::load_base_last) total += base_.load(acq);
    return static_cast<std::int64_t>(total);
  }
  std::int64_t load_exact() const {
    const std::uint64_t early = base_.load(sc);
    const std::uint64_t slots = freeze();
    const std::uint64_t base = M == mistake::base_before_slots ? early : base_.load(sc);
    thaw();
    return static_cast<std::int64_t>(slots + base);
  }
  std::int64_t exchange(std::int64_t desired) {
    if (M == mistake::sum_then_zero) {
      const std::uint64_t value = looked_at(state_.load(acq)) + base_.exchange(0, sc);
      const std::uint64_t state = state_.load(acq);
      for (unsigned row = 0; detail::has_slots(state) && row < detail::restartable::rows(); ++row) {
        detail::slot_of(state, row).store(0, rel);
      }
      return static_cast<std::int64_t>(value);
    }
    const std::uint64_t slots = freeze();
    const std::uint64_t base = base_.exchange(static_cast<std::uint64_t>(desired) - slots, sc);
    thaw();
    return static_cast<std::int64_t>(slots + base);
  }
  ~seeded() {
    const std::uint64_t state = state_.load(rlx);
    if (detail::has_slots(state)) {
      detail::column_pool::give_back(&detail::slot_of(state, 0), detail::restartable::rows());
    }
  }

private:
  static std::uint64_t looked_at(std::uint64_t state) {
    std::uint64_t total = 0;
    for (unsigned row = 0; detail::has_slots(state) && row < detail::restartable::rows(); ++row) {
      total += static_cast<std::uint64_t>(twin::tally(detail::slot_of(state, row).load(acq)));
    }
    return total;
  }
  std::uint64_t freeze() const {
    std::uint64_t total = 0;
    if (M == mistake::mark_after_sum) total = looked_at(state_.load(acq));
    const std::uint64_t seen = state_.fetch_add(detail::one_freezer, sc);
    if (M == mistake::mark_after_sum || !detail::has_slots(seen)) return total;
    if (M == mistake::no_interrupt) return looked_at(seen);
    for (unsigned row = 0; row < detail::restartable::rows(); ++row) {
      total += static_cast<std::uint64_t>(twin::interrupt(detail::slot_of(seen, row)));
    }
    return total;
  }
  void thaw() const {
    if (M == mistake::spread_over_freezer && detail::freezers(state_.load(rlx)) == 0) return;
    state_.fetch_sub(detail::one_freezer, rel);
  }

  std::atomic<std::uint64_t> base_{0};
  mutable std::atomic<std::uint64_t> state_{detail::no_slots};
};

// ---- bodies ---------------------------------------------------------------------------------------

std::int64_t by_load(striped_counter& c) { return c.load(); }
std::int64_t by_load_exact(striped_counter& c) { return c.load_exact(); }
std::int64_t by_exchange(striped_counter& c) { return c.exchange(5); }

// No mark is left.
void is_open(striped_counter& c) {
  testing::check(detail::freezers(word_of(c).load(rlx)) == 0, "the slots are in use again");
}
template <mistake M>
void is_open(seeded<M>&) {}

// A counter, and what was done to it in each execution.
template <class Counter>
struct watched {
  Counter counter;
  testing::explored_history<call> calls;

  void add(std::int64_t n) {
    calls.record({.amount = n}, [&](call&) { counter.add(n); });
  }
  void add_in(unsigned row, std::int64_t n) {
    use_row(row);
    add(n);
  }
  void exact() {
    calls.record({.what = call::kind::exact}, [&](call& c) { c.seen = counter.load_exact(); });
  }
  void exchange(std::int64_t desired) {
    calls.record({.what = call::kind::exchange, .amount = desired},
                 [&](call& c) { c.seen = counter.exchange(desired); });
  }
  void load() {
    calls.record({.what = call::kind::load}, [&](call& c) { c.seen = counter.load(); });
  }
  // Effects: looks at the end once more, then checks.
  void check() {
    is_open(counter);
    exact();
    calls.check(state{});
  }
};

// Adds here and there, while one reads: the additions land in the order 1, 10.
template <class Counter>
void exact_beside_adds(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  w.thread([&] {
    c.add_in(0, 1);
    c.add_in(1, 10);
  });
  w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

// The same by two threads, the second of which waits for the first.
template <class Counter>
void exact_beside_two(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  std::atomic<bool> added{false};
  w.thread([&] {
    c.add_in(1, 1);
    added.store(true, rel);
  });
  w.thread([&] {
    while (!added.load(acq)) testing::spin_hint();
    c.add_in(0, 10);
  });
  w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

// Two exact reads, which must not contradict each other.
template <class Counter>
void two_exact(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  w.thread([&] {
    c.add_in(0, 1);
    c.exact();
  });
  w.thread([&] {
    c.add_in(1, 10);
    c.exact();
  });
  w.finally([&] { c.check(); });
}

// To the base word, then to a slot.
template <class Counter>
void exact_while_it_spreads(world& w) {
  begin();
  watched<Counter> c;
  w.thread([&] {
    c.add(1);
    c.counter.spread();
    c.add(10);
  });
  w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

// To a slot, then what fits in no slot of this form, to the base word; or the other way round.
constexpr std::int64_t large = twin::most + 1;

template <class Counter>
void exact_while_it_spreads_and_overflows(world& w) {
  begin();
  watched<Counter> c;
  w.thread([&] {
    c.counter.spread();
    c.add(10);
    c.add(large);
  });
  w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

template <class Counter>
void exact_beside_overflow(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  w.thread([&] {
    c.add(large);
    c.add(10);
    c.add(large);
  });
  w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

// An exact read that finds no slots, and one that does.
enum class by { the_counting_one, the_spreading_one };

template <class Counter, by Reader>
void two_exact_while_it_spreads(world& w) {
  begin();
  watched<Counter> c;
  w.thread([&] {
    c.add(1);
    if (Reader == by::the_counting_one) c.exact();
  });
  w.thread([&] {
    c.counter.spread();
    c.add(10);
    if (Reader == by::the_spreading_one) c.exact();
  });
  w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

// Two that freeze it at once, beside one that counts in a slot and then in the base word.
template <class Counter>
void two_freezers(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  w.thread([&] {
    c.add_in(1, 1);
    c.add(large);
  });
  for (int i = 0; i < 2; ++i) w.thread([&] { c.exact(); });
  w.finally([&] { c.check(); });
}

// One thread adds, two take: what they take adds up, at moments in one order.
template <class Counter>
void two_drains(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  w.thread([&] {
    c.add_in(0, 1);
    c.add_in(1, 10);
  });
  for (int i = 0; i < 2; ++i) w.thread([&] { c.exchange(100); });
  w.finally([&] { c.check(); });
}

// The same by two threads that do both.
template <class Counter>
void two_drains_that_add(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  for (unsigned t = 0; t < 2; ++t) {
    w.thread([&, t] {
      c.add_in(t, t == 0 ? 1 : 10);
      c.exchange(100);
    });
  }
  w.finally([&] { c.check(); });
}

template <class Counter>
void drain_beside_two(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  for (unsigned t = 0; t < 2; ++t) w.thread([&, t] { c.add_in(t, t == 0 ? 1 : 10); });
  w.thread([&] { c.exchange(100); });
  w.finally([&] { c.check(); });
}

// Two threads that use the same slot, and a drain.
template <class Counter>
void drain_beside_one_slot(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  for (unsigned t = 0; t < 2; ++t) w.thread([&, t] { c.add_in(0, t == 0 ? 1 : 10); });
  w.thread([&] { c.exchange(100); });
  w.finally([&] { c.check(); });
}

// Two operations of each of three threads.
template <class Counter>
void three_of_two(world& w) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  w.thread([&] {
    c.add_in(0, 1);
    c.exact();
  });
  w.thread([&] {
    c.add_in(1, 10);
    c.exchange(1000);
  });
  w.thread([&] {
    c.add_in(0, 100);
    c.exact();
  });
  w.finally([&] { c.check(); });
}

template <class Counter>
void loads_beside_adds(world& w, bool freezer) {
  begin();
  watched<Counter> c;
  c.counter.spread();
  for (unsigned t = 0; t < 2; ++t) {
    w.thread([&, t] {
      c.add_in(t, t == 0 ? 1 : 10);
      c.load();
    });
  }
  w.thread([&, freezer] {
    c.load();
    if (freezer) static_cast<void>(c.counter.load_exact());
    c.load();
  });
  w.finally([&] {
    c.load();
    c.calls.check(between);
  });
}

template <class Counter>
void load_while_it_spreads(world& w) {
  begin();
  watched<Counter> c;
  w.thread([&] {
    c.add(1);
    c.counter.spread();
    c.add(10);
  });
  w.thread([&] {
    c.load();
    c.load();
  });
  w.finally([&] {
    c.load();
    c.calls.check(between);
  });
}

// 10, then 15, then taken for 1.
template <class Counter>
void load_beside_exchange(world& w) {
  begin();
  Counter c;
  c.add(10);
  c.spread();
  w.thread([&] {
    use_row(1);
    c.add(5);
    testing::check(c.exchange(1) == 15, "all of it");
  });
  w.thread([&] {
    const auto seen = c.load();
    testing::check(seen == 10 || seen == 15 || seen == 1, "an exchange counts wholly or not");
  });
  w.finally([] {});
}

// Who has counted and then learns that another one has counted too finds both.
template <auto Read>
void load_after_add(world& w, bool slots, bool spread_meanwhile) {
  begin();
  striped_counter c;
  if (slots) c.spread();
  std::atomic<bool> counted{false};
  w.thread([&] {
    ++c;
    if (c.load() > 2) testing::check(false, "not more than there is");
    if (counted.load(acq)) testing::check(Read(c) == 2, "what came before is counted");
  });
  w.thread([&, spread_meanwhile] {
    if (spread_meanwhile) c.spread();
    ++c;
    counted.store(true, rel);
  });
  w.finally([] {});
}

template <auto Read, bool Slots, bool SpreadMeanwhile>
void load_after_add_by(world& w) {
  load_after_add<Read>(w, Slots, SpreadMeanwhile);
}

// Two spread it at once.
void spread_twice(world& w) {
  begin();
  auto* const c = new striped_counter;
  for (unsigned t = 0; t < 2; ++t) {
    w.thread([c, t] {
      c->spread();
      use_row(t);
      ++*c;
    });
  }
  w.finally([c] {
    testing::check(c->load() == 2, "both are counted");
    delete c;
    columns_are_back();
  });
}

// The slots are made by whoever spreads it.
void fresh_slots(world& w) {
  begin();
  vacant_columns().store(0, rlx);
  auto* const c = new striped_counter;
  w.thread([c] {
    c->spread();
    ++*c;
  });
  w.thread([c] {
    ++*c;
    const auto seen = c->load();
    testing::check(seen == 1 || seen == 2, "each wholly");
  });
  w.finally([c] {
    testing::check(c->load_exact() == 2, "both are counted");
    delete c;
    std::byte* const made = newest_of(detail::the_columns).load(rlx);
    newest_of(detail::the_columns).store(slab, rlx);
    testing::check(made != slab, "it was made");
    ::operator delete(made, std::align_val_t{detail::row_bytes});
  });
}

void counts(world& w, int threads, int rounds, bool slots = false) {
  begin();
  auto* const c = new striped_counter;
  if (slots) c->spread();
  for (int t = 0; t < threads; ++t) {
    w.thread([c, rounds] {
      for (int i = 0; i < rounds; ++i) ++*c;
    });
  }
  w.finally([c, threads, rounds] {
    testing::check(c->load() == threads * rounds, "no addition is lost");
    testing::check(c->exchange(0) == threads * rounds, "nor by the exact sum");
    delete c;
    columns_are_back();
  });
}

// The last one to leave destroys it, with the slots that another one took.
void last_user(world& w, int threads) {
  begin();
  auto* const c = used_by<striped_counter>::make(threads);
  for (int t = 0; t < threads; ++t) {
    w.thread([c, t] {
      if (t == 0) (*c)->spread();
      ++**c;
      c->leave();
    });
  }
  w.finally(columns_are_back);
}

// A load that counts an addition sees what was done before it.
template <class Read>
void hands_on(world& w, bool with_slots, Read read) {
  begin();
  striped_counter c;
  if (with_slots) c.spread();
  int goods = 0;
  w.thread([&] {
    goods = 7;
    ++c;
  });
  w.thread([&, read] {
    if (read(c) == 1) testing::check(goods == 7, "what was done before is visible");
  });
  w.finally([] {});
}

template <bool Slots, auto Read>
void hands_on_by(world& w) {
  hands_on(w, Slots, Read);
}

// What an exchange took out was done before; who counts the exchange sees it.
void hands_on_through_exchange(world& w) {
  begin();
  striped_counter c;
  c.spread();
  int goods = 0;
  w.thread([&] {
    goods = 7;
    (void)c.exchange(1);
  });
  w.thread([&] {
    if (c.load() == 1) testing::check(goods == 7, "what was done before is visible");
  });
  w.finally([] {});
}

}  // namespace

TEST_CASE("striped_counter: no addition is lost, while it spreads as well") {
  REQUIRE(slab != nullptr);
  proved([](world& w) { counts(w, 2, 2); });
  proved([](world& w) { counts(w, 3, 2); });
  proved([](world& w) { counts(w, 4, 1); });
  proved([](world& w) { counts(w, 3, 2, true); });
  proved(spread_twice);
  proved(fresh_slots);
}

TEST_CASE("striped_counter: the last user may destroy it") {
  proved([](world& w) { last_user(w, 2); });
}

TEST_CASE("striped_counter: a load lies between what was done before and begun after") {
  proved([](world& w) { loads_beside_adds<striped_counter>(w, false); });
  proved(load_while_it_spreads<striped_counter>);
  proved(load_after_add_by<by_load, false, false>);
  proved(load_after_add_by<by_load, true, false>);
  proved(load_after_add_by<by_load, false, true>);
  proved(load_after_add_by<by_load_exact, false, false>);
  proved(load_after_add_by<by_load_exact, true, false>);
  proved(load_after_add_by<by_load_exact, false, true>);
  proved(load_beside_exchange<striped_counter>);
  failing(load_beside_exchange<seeded<mistake::load_base_last>>);
}

TEST_CASE("striped_counter: what was done before an addition is seen by who counts it") {
  proved(hands_on_by<false, by_load>);
  proved(hands_on_by<true, by_load>);
  proved(hands_on_by<false, by_load_exact>);
  proved(hands_on_by<true, by_load_exact>);
  proved(hands_on_by<false, by_exchange>);
  proved(hands_on_by<true, by_exchange>);
  proved(hands_on_through_exchange);
}

TEST_CASE("striped_counter: an exact sum is the value at one moment") {
  proved(exact_beside_adds<striped_counter>);
  proved(exact_beside_two<striped_counter>);
  proved(exact_while_it_spreads<striped_counter>);
  proved(two_exact_while_it_spreads<striped_counter, by::the_counting_one>);
  proved(two_exact_while_it_spreads<striped_counter, by::the_spreading_one>);
  proved(exact_while_it_spreads_and_overflows<striped_counter>);
  proved(exact_beside_overflow<striped_counter>);
}

TEST_CASE("striped_counter: the protocol needs each of its steps") {
  proved(exact_while_it_spreads_and_overflows<seeded<mistake::none>>);
  failing(exact_while_it_spreads_and_overflows<seeded<mistake::spread_over_freezer>>);
  failing(exact_beside_adds<seeded<mistake::no_interrupt>>);
  failing(exact_beside_adds<seeded<mistake::mark_after_sum>>);
  failing(exact_beside_overflow<seeded<mistake::base_before_slots>>);
}

TEST_CASE("striped_counter: exact sums do not contradict each other") {
  proved(two_exact<striped_counter>);
}

TEST_CASE("striped_counter: each addition is in exactly one drain") {
  proved(two_drains_that_add<striped_counter>);
  proved(drain_beside_two<striped_counter>);
  proved(drain_beside_one_slot<striped_counter>);
  failing(drain_beside_two<seeded<mistake::sum_then_zero>>);
}

TEST_CASE("striped_counter: two drains beside two additions", "[.deep]") {
  proved(two_drains<striped_counter>);
}

TEST_CASE("striped_counter: two exact sums beside two additions", "[.deep]") {
  proved(two_freezers<striped_counter>);
}

TEST_CASE("striped_counter: three threads, two operations each", "[.deep]") {
  proved(three_of_two<striped_counter>);
}

TEST_CASE("striped_counter: mutants", "[.mutants]") {
  mutants({hands_on_by<false, by_load>,
           hands_on_by<true, by_load>,
           hands_on_by<true, by_load_exact>,
           hands_on_by<true, by_exchange>,
           hands_on_by<false, by_exchange>,
           hands_on_through_exchange,
           load_after_add_by<by_load, false, false>,
           load_after_add_by<by_load, true, false>,
           load_after_add_by<by_load, false, true>,
           load_after_add_by<by_load_exact, false, false>,
           load_after_add_by<by_load_exact, true, false>,
           load_after_add_by<by_load_exact, false, true>,
           spread_twice,
           fresh_slots,
           [](world& w) { last_user(w, 2); },
           [](world& w) { counts(w, 2, 1); },
           exact_beside_adds<striped_counter>,
           exact_beside_overflow<striped_counter>,
           exact_while_it_spreads<striped_counter>,
           load_while_it_spreads<striped_counter>,
           load_beside_exchange<striped_counter>,
           two_exact<striped_counter>,
           two_drains_that_add<striped_counter>,
           drain_beside_one_slot<striped_counter>,
           two_exact_while_it_spreads<striped_counter, by::the_counting_one>,
           two_exact_while_it_spreads<striped_counter, by::the_spreading_one>});
}
