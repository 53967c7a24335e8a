// SPDX-License-Identifier: BSL-1.0
// What versioned<T> keeps its value in: the sequence lock at odd sizes, the version word as a lock.

#include "testing/front.hpp"

#include <interlock/detail/versioned_cell.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace detail = interlock::detail;
using testing::world;

namespace {

template <std::size_t size>
struct bytes {
  explicit bytes(int number) { std::memset(all, number, size); }
  [[nodiscard]] int number() const {
    for (std::size_t i = 0; i < size; i += 4) testing::check(all[i] == all[0], "not torn");
    testing::check(all[size - 1] == all[0], "not torn");
    return all[0];
  }
  char all[size];
};

struct testing_sight {
  int number;
  std::uint64_t version;
};

// A sequence lock whose words are stored and loaded with these orders.
template <std::memory_order stored, std::memory_order loaded>
class naive_seqlock {
public:
  naive_seqlock(int number, std::uint64_t) { put(number); }
  void store(int number) {
    word_.exchange(word_.load(rlx) | 1, sc);
    put(number);
    word_.store((word_.load(rlx) | 1) + 1, rel);
  }
  // Returns: the number, or -1 if the words differ.
  int load() const {
    for (;;) {
      const std::uint64_t version = word_.load(acq);
      if ((version & 1) == 0) {
        const int first = words_[0].load(loaded);
        const int second = words_[1].load(loaded);
        if (word_.load(rlx) == version) return first == second ? first : -1;
      }
      testing::spin_hint();
    }
  }

private:
  void put(int number) {
    for (auto& one : words_) one.store(number, stored);
  }
  std::atomic<std::uint64_t> word_{0};
  std::array<std::atomic<int>, 2> words_;
};

template <class Lock>
void torn_naive(world& w) {
  Lock cell(0, 0);
  std::atomic<bool> stored{false};
  w.thread([&] {
    cell.store(1);
    stored.store(true, rel);
  });
  w.thread([&] {
    const bool after = stored.load(acq);
    const int seen = cell.load();
    testing::check(seen >= 0, "not torn");
    testing::check(!after || seen == 1, "not older than its version");
  });
  w.finally([] {});
}

// The lock as a versioned<T> uses it.
template <std::size_t size>
void commit(detail::seqlock_cell<bytes<size>>& cell, int number) {
  typename detail::seqlock_cell<bytes<size>>::draft next{bytes<size>(number)};
  const auto version = cell.lock();
  cell.put(next);
  cell.publish_and_wake(version + 1);
}

template <std::size_t size>
void not_torn(world& w) {
  auto* const cell = new detail::seqlock_cell<bytes<size>>(bytes<size>(0), 0);
  w.thread([cell] {
    commit<size>(*cell, 1);
    commit<size>(*cell, 2);
  });
  w.thread([cell] {
    const auto seen = cell->read();
    testing::check(static_cast<std::uint64_t>(seen.value.number()) == seen.version, "its own");
  });
  w.finally([cell] {
    testing::check(cell->read().value.number() == 2, "both took effect");
    delete cell;
  });
}

// A cell with three places, of which each commit takes the next: the fourth value is where the first
// was. As seqlock_cell has it: `more` is 1 and `jumps_enter` is true.
template <std::uint64_t more, bool jumps_enter>
class three_places : public detail::version_word {
public:
  explicit three_places(int number) : version_word(0) { places_[0].store(bytes<9>(number)); }
  void commit(std::uint64_t to, int number) {
    const auto from = claim();
    if (jumps_enter && to != from + 1) mark_busy(from);
    places_[to % 3].store(bytes<9>(number));
    publish_claimed(to);
  }
  testing_sight read() const {
    for (;;) {
      const auto seen = peek();
      typename detail::shared_bytes<bytes<9>>::copy copy;
      if (is_settled(seen)) {
        places_[version_of(seen) % 3].load(copy);
        if (at_most_past(seen, more)) {
          bytes<9> value(0);
          copy.fill(&value);
          return {value.number(), version_of(seen)};
        }
      }
      testing::spin_hint();
    }
  }

private:
  std::array<detail::shared_bytes<bytes<9>>, 3> places_;
};

// The real one.
class real_places {
public:
  explicit real_places(int number) : cell_(bytes<9>(number), 0) {}
  void commit(std::uint64_t to, int number) {
    const auto from = cell_.enter();
    cell_.commit(draft(bytes<9>(number)), from, to);
  }
  testing_sight read() const {
    const auto seen = cell_.read();
    return {seen.value.number(), seen.version};
  }

private:
  using draft = detail::seqlock_cell<bytes<9>, 3>::draft;
  detail::seqlock_cell<bytes<9>, 3> cell_;
};

// Three commits, the last of which falls on the first value's place, beside a reader.
template <class Places>
void lapped(world& w) {
  Places cell(0);
  w.thread([&] {
    for (int i = 1; i <= 3; ++i) cell.commit(static_cast<std::uint64_t>(i), i);
  });
  w.thread([&] {
    const testing_sight seen = cell.read();
    testing::check(static_cast<std::uint64_t>(seen.number) == seen.version, "its own value");
  });
  w.finally([&] { testing::check(cell.read().version == 3, "all took effect"); });
}

// A commit that goes up by three falls on the place that is being read.
template <class Places>
void jumped(world& w) {
  Places cell(0);
  w.thread([&] {
    cell.commit(3, 3);
    cell.commit(4, 4);
  });
  w.thread([&] {
    const testing_sight seen = cell.read();
    testing::check(static_cast<std::uint64_t>(seen.number) == seen.version, "its own value");
  });
  w.finally([&] { testing::check(cell.read().version == 4, "both took effect"); });
}

// A transaction's commit, which is in, beside plain ones.
void put_while_in(world& w) {
  using cell_type = detail::seqlock_cell<bytes<9>, 3>;
  cell_type cell(bytes<9>(0), 0);
  w.thread([&] {
    const auto version = cell.lock();
    cell.put(cell_type::draft(bytes<9>(static_cast<int>(version) + 1)));
    (void)cell.publish(version + 1);
  });
  w.thread([&] {
    const auto version = cell.enter();
    cell.commit(cell_type::draft(bytes<9>(static_cast<int>(version) + 1)), version, version + 1);
  });
  w.thread([&] {
    const auto seen = cell.read();
    testing::check(static_cast<std::uint64_t>(seen.value.number()) == seen.version, "its own");
  });
  w.finally([&] { testing::check(cell.read().version == 2, "both took effect"); });
}

// While a commit is held up with its claim, a reader goes on.
void read_while_filling(world& w) {
  detail::seqlock_cell<bytes<9>, 3> cell(bytes<9>(0), 0);
  std::atomic<bool> entered{false}, read{false};
  w.thread([&] {
    const auto version = cell.enter();
    entered.store(true, rel);
    while (!read.load(acq)) testing::spin_hint();
    cell.commit(detail::seqlock_cell<bytes<9>, 3>::draft(bytes<9>(1)), version, 1);
  });
  w.thread([&] {
    while (!entered.load(acq)) testing::spin_hint();
    testing::check(cell.read().value.number() == 0, "the value of before");
    read.store(true, rel);
  });
  w.finally([] {});
}

// Each commits to a cell with places and looks at the other: one total order.
void places_then_look(world& w) {
  using cell_type = detail::seqlock_cell<bytes<9>, 3>;
  cell_type a(bytes<9>(0), 0), b(bytes<9>(0), 0);
  std::uint64_t saw_a = 0, saw_b = 0;
  const auto commit = [](cell_type& cell) {
    const auto version = cell.enter();
    cell.commit(cell_type::draft(bytes<9>(1)), version, version + 1);
  };
  w.thread([&, commit] {
    commit(a);
    saw_b = b.settled();
  });
  w.thread([&, commit] {
    commit(b);
    saw_a = a.settled();
  });
  w.finally([&] { testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other"); });
}

// Two commit and count in a plain object, by claims that wait.
void claims_wait(world& w) {
  detail::version_word word(0);
  int inside = 0;
  bool entered = false;
  w.thread([&] {
    const auto version = word.claim();
    ++inside;
    word.publish_claimed(version + 1);
  });
  w.thread([&] {
    entered = word.claim_at(1);
    if (!entered) return;
    ++inside;
    word.publish_claimed(2);
  });
  w.finally([&] {
    testing::check(inside == (entered ? 2 : 1), "one after the other");
    testing::check(word.settled() == (entered ? 2U : 1U), "each its version");
  });
}

// The version word alone, as a lock: by any version, or by one that must not have changed.
template <int threads>
void sections(world& w) {
  detail::version_word word(0);
  int inside = 0;
  for (int t = 0; t < threads; ++t) {
    w.thread([&] {
      const auto version = word.lock();
      ++inside;  // a plain object: a race if two are inside
      (void)word.publish(version + 1);
    });
  }
  w.finally([&] {
    testing::check(inside == threads && word.settled() == threads, "every section was run");
  });
}

void locks_at(world& w) {
  detail::version_word word(0);
  int inside = 0;
  bool entered[2] = {};
  for (bool& mine : entered) {
    w.thread([&] {
      mine = word.lock_at(0);
      if (!mine) return;
      ++inside;
      (void)word.publish(1);
    });
  }
  w.finally([&] { testing::check(entered[0] != entered[1] && inside == 1, "one at a version"); });
}

// Who leaves with nothing changed has not used up the version.
void gives_up(world& w) {
  detail::version_word word(0);
  int inside = 0;
  bool entered = false;
  w.thread([&] {
    const auto version = word.lock();
    ++inside;
    word.unlock(version);
  });
  w.thread([&] {
    entered = word.lock_at(0);
    if (!entered) return;
    ++inside;
    (void)word.publish(1);
  });
  w.finally([&] { testing::check(entered && inside == 2, "the version is still there"); });
}

// Each enters one word and asks for the other: not both find that nothing has happened there.
void enter_then_ask(world& w) {
  detail::version_word a(0), b(0);
  bool alone[2] = {};
  const auto enter = [](detail::version_word& mine, const detail::version_word& other) {
    testing::check(mine.lock_at(0), "nobody else enters");
    const bool at_rest = other.is_at(0);
    (void)mine.publish(1);
    return at_rest;
  };
  w.thread([&, enter] { alone[0] = enter(a, b); });
  w.thread([&, enter] { alone[1] = enter(b, a); });
  w.finally([&] { testing::check(!alone[0] || !alone[1], "one of them meets the other"); });
}

// Claims and locks exclude each other. One thread claims as often as it takes.
void claims(world& w) {
  detail::version_word word(0);
  int inside = 0;
  const auto claim = [&] {
    while (!word.try_claim(word.settled())) testing::spin_hint();
    const auto version = word.settled();
    ++inside;  // a plain object: a race if two are inside
    word.mark_busy(version);
    (void)word.publish(version + 1);
  };
  w.thread(claim);
  w.thread([&] {
    const auto version = word.lock();
    ++inside;
    (void)word.publish(version + 1);
  });
  w.thread([&] {
    const auto version = word.settled();
    if (!word.try_claim(version)) return;
    ++inside;
    word.unclaim(version);
  });
  w.finally([&] {
    testing::check(inside >= 2 && word.settled() == 2, "two commits, and a claim that ends");
  });
}

// Who is kept out at a version by a claim gets in when the claim is given back.
void claim_given_back(world& w) {
  detail::version_word word(0);
  int inside = 0;
  bool entered = false;
  w.thread([&] {
    if (!word.try_claim(0)) return;
    ++inside;
    word.unclaim(0);
  });
  w.thread([&] {
    entered = word.lock_at(0);
    if (!entered) return;
    ++inside;
    (void)word.publish(1);
  });
  w.finally([&] { testing::check(entered && inside >= 1, "the version is still there"); });
}

// A claim holds up no reader: its owner waits for one. Then it commits beside another reader.
void read_while_claimed(world& w) {
  detail::seqlock_cell<bytes<9>> cell(bytes<9>(0), 0);
  std::atomic<bool> claimed{false}, read{false};
  w.thread([&] {
    testing::check(cell.try_claim(0), "nobody else commits");
    claimed.store(true, rel);
    while (!read.load(acq)) testing::spin_hint();
    detail::seqlock_cell<bytes<9>>::draft next{bytes<9>(1)};
    cell.mark_busy(0);
    cell.put(next);
    (void)cell.publish(1);
  });
  w.thread([&] {
    while (!claimed.load(acq)) testing::spin_hint();
    testing::check(cell.read().value.number() == 0, "the value of before");
    testing::check(!cell.is_at(0), "to a writer it is taken");
    read.store(true, rel);
    const auto seen = cell.read();
    testing::check(static_cast<std::uint64_t>(seen.value.number()) == seen.version, "its own");
  });
  w.finally([] {});
}

// Each claims one word and asks for the other, as two transactions do.
void claim_then_ask(world& w) {
  detail::version_word a(0), b(0);
  bool alone[2] = {};
  const auto claim = [](detail::version_word& mine, const detail::version_word& other) {
    testing::check(mine.try_claim(0), "nobody else enters");
    const bool at_rest = other.is_at(0);
    mine.mark_busy(0);
    (void)mine.publish(1);
    return at_rest;
  };
  w.thread([&, claim] { alone[0] = claim(a, b); });
  w.thread([&, claim] { alone[1] = claim(b, a); });
  w.finally([&] { testing::check(!alone[0] || !alone[1], "one of them meets the other"); });
}

// Each commits to one word, one by a claim, and then looks at the other: one total order.
void claim_then_look(world& w) {
  detail::version_word a(0), b(0);
  std::uint64_t saw_a = 0, saw_b = 0;
  w.thread([&] {
    testing::check(a.try_claim(0), "nobody else enters");
    a.mark_busy(0);
    (void)a.publish(1);
    saw_b = b.settled();
  });
  w.thread([&] {
    testing::check(b.lock_at(0), "nobody else enters");
    (void)b.publish(1);
    saw_a = a.settled();
  });
  w.finally([&] { testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other"); });
}

// As claim_then_look, but with a claim that becomes a commit without its place in the order.
void naive_claim_then_look(world& w) {
  std::atomic<int> a{0}, b{0};
  int saw_a = 0, saw_b = 0;
  w.thread([&] {
    int none = 0;
    a.compare_exchange_strong(none, 1, sc);  // claimed
    a.store(2, rel);
    saw_b = b.load(sc);
  });
  w.thread([&] {
    int none = 0;
    b.compare_exchange_strong(none, 2, sc);
    saw_a = a.load(sc);
  });
  w.finally([&] { testing::check(saw_a == 2 || saw_b == 2, "one of them sees the other"); });
}

// A waiter that finds a claim misses no commit by it.
void waits_past_a_claim(world& w) {
  detail::version_word word(0);
  w.thread([&] {
    testing::check(word.try_claim(0), "nobody else commits");
    word.mark_busy(0);
    word.publish_and_wake(1);
  });
  w.thread([&] { testing::check(word.wait_past(0, nullptr), "the commit"); });
  w.finally([] {});
}

}  // namespace

TEST_CASE("seqlock_cell: no torn value at odd sizes") {
  proved(not_torn<1>);
  proved(not_torn<3>);
  proved(not_torn<9>);
  proved(not_torn<12>);
  proved(not_torn<17>);
}

TEST_CASE("seqlock_cell: a sequence lock whose words lack an order is torn") {
  proved(torn_naive<naive_seqlock<rel, acq>>);
  failing(torn_naive<naive_seqlock<rlx, acq>>);
  failing(torn_naive<naive_seqlock<rel, rlx>>);
  failing(torn_naive<naive_seqlock<rlx, rlx>>);
}

TEST_CASE("version_word: one thread at a time, and one at a version") {
  proved(sections<2>);
  proved(sections<3>);
  proved(locks_at);
  proved(gives_up);
  proved(enter_then_ask);
}

TEST_CASE("version_word: a claim keeps out commits and nobody else") {
  proved(claims);
  proved(claim_given_back);
  proved(read_while_claimed);
  proved(claim_then_ask);
  proved(claim_then_look);
  proved(waits_past_a_claim);
  failing(naive_claim_then_look);
}

TEST_CASE("seqlock_cell: with several places no copy is of a later commit") {
  proved(lapped<three_places<1, true>>);
  proved(jumped<three_places<1, true>>);
  proved(lapped<real_places>);
  proved(jumped<real_places>);
  proved(put_while_in);
  proved(read_while_filling);
  proved(places_then_look);
  proved(claims_wait);
}

TEST_CASE("seqlock_cell: a place that is in use again spoils the copy") {
  failing(lapped<three_places<2, true>>);
  failing(lapped<three_places<1'000, true>>);
  failing(jumped<three_places<1, false>>);
}

TEST_CASE("versioned_cell: mutants", "[.mutants]") {
  mutants({sections<2>, locks_at, gives_up, enter_then_ask, not_torn<9>, claims, claim_given_back,
           read_while_claimed, claim_then_ask, claim_then_look, waits_past_a_claim,
           lapped<real_places>, jumped<real_places>, put_while_in, places_then_look, claims_wait,
           read_while_filling});
}
