// SPDX-License-Identifier: BSL-1.0
// Transactions in every execution: whole or not at all, no body that sees two moments, no skew.

#include "testing/front.hpp"
#include "testing/last_user.hpp"

#include <interlock/transaction.hpp>

#include <array>
#include <stdexcept>

using interlock::atomically;
using interlock::transaction;
using interlock::versioned;
using testing::world;

namespace {

// A number that is not trivially copyable: a cell of it keeps it on the heap.
struct boxed {
  boxed(int value = 0) : number(value) {}  // NOLINT: a number in disguise
  boxed(const boxed& other) : number(other.number) {}
  boxed& operator=(const boxed&) = delete;
  operator int() const { return number; }  // NOLINT: as above
  int number;
};
static_assert(versioned<boxed>::storage == versioned<boxed>::storage_kind::node);

// A loop of attempts that lose to a thread which does not go on has no end, and no two attempts
// are the same execution. So where a body writes and reads different cells, attempts are counted.
constexpr std::size_t attempts = 2;

template <class A, class B = A>
struct pair_of {
  versioned<A> a{A(0)};
  versioned<B> b{B(0)};

  // Effects: adds n to both.
  void raise(int n) {
    atomically([&](transaction& t) {
      t.update(a, [n](const A& value) { return A(value + n); });
      t.update(b, [n](const B& value) { return B(value + n); });
    });
  }
  [[nodiscard]] int difference() {
    return atomically([&](transaction& t) {
      const int first = t.read(a);
      const int second = t.read(b);
      testing::check(first == second, "a body sees one moment");
      return second - first;
    });
  }
};

// What a transaction must not be: the cells one after the other.
struct naive_pair : pair_of<int> {
  void raise(int n) {
    a.update([n](int value) { return value + n; });
    b.update([n](int value) { return value + n; });
  }
};

// And a transaction that reads without looking back: TL2 without its validation.
struct blind_pair : pair_of<int> {
  [[nodiscard]] int difference() {
    const int first = a.load().value;
    return b.load().value - first;
  }
};

// The read and the write in two transactions.
struct sum_in_two_steps : pair_of<int> {
  void raise(int n) {
    const int before = atomically([&](transaction& t) { return t.read(a); });
    atomically([&](transaction& t) {
      t.write(a, before + n);
      t.write(b, before + n);
    });
  }
};

template <class Pair, int rounds>
void one_moment(world& w) {
  auto* const both = used_by<Pair>::make(2);
  w.thread([both] {
    for (int i = 0; i < rounds; ++i) (*both)->raise(1);
    both->leave();
  });
  w.thread([both] {
    testing::check((*both)->difference() == 0, "the cells are equal at each moment");
    both->leave();
  });
  w.finally([] {});
}

template <class Pair, int threads>
void raised_by_all(world& w) {
  auto* const both = new Pair;
  w.threads(threads, [both] { both->raise(1); });
  w.finally([both] {
    testing::check(both->a.load().value == threads && both->b.load().value == threads,
                   "none is lost");
    testing::check(both->a.version() == static_cast<std::uint64_t>(threads), "one commit each");
    delete both;
  });
}

// Each raises both and then reads them.
template <class Pair, int threads>
void raises_and_reads(world& w) {
  auto* const both = new Pair;
  w.threads(threads, [both] {
    both->raise(1);
    testing::check(both->difference() == 0, "the cells are equal at each moment");
  });
  w.finally([both] {
    testing::check(both->a.load().value == threads, "none is lost");
    delete both;
  });
}

template <class Pair>
void beside_a_plain_commit(world& w) {
  Pair both;
  w.thread([&] { both.raise(1); });
  w.thread([&] {
    both.a.update([](const auto& value) {
      return std::remove_cvref_t<decltype(value)>(value + 10);
    });
  });
  w.finally([&] {
    testing::check(both.a.load().value == 11 && both.b.load().value == 1, "none is lost");
  });
}

// Each account may be overdrawn as long as the sum stays at 0 or more.
template <class T, class Withdraw>
void skew(world& w, Withdraw withdraw) {
  versioned<T> a(T(1)), b(T(1));
  w.thread([&, withdraw] { withdraw(a, b, a); });
  w.thread([&, withdraw] { withdraw(a, b, b); });
  w.finally([&] { testing::check(a.load().value + b.load().value >= 0, "not both took it"); });
}

template <class T>
void no_skew(world& w) {
  skew<T>(w, [](versioned<T>& a, versioned<T>& b, versioned<T>& mine) {
    (void)atomically(
        [&](transaction& t) {
          if (t.read(a) + t.read(b) < 2) return;
          t.update(mine, [](const T& value) { return T(value - 2); });
        },
        1);
  });
}

void naive_skew(world& w) {
  skew<int>(w, [](versioned<int>& a, versioned<int>& b, versioned<int>& mine) {
    if (a.load().value + b.load().value < 2) return;
    mine.update([](int value) { return value - 2; });
  });
}

// Each reads what the other writes: of two that commit, one has seen the other.
void each_reads_the_other(world& w) {
  versioned<int> a(0), b(0);
  int saw_a = -1, saw_b = -1;
  w.thread([&] {
    saw_b = atomically(
                [&](transaction& t) {
                  t.write(a, 1);
                  return t.read(b);
                },
                attempts)
                .value_or(-1);
  });
  w.thread([&] {
    saw_a = atomically(
                [&](transaction& t) {
                  t.write(b, 1);
                  return t.read(a);
                },
                attempts)
                .value_or(-1);
  });
  w.finally([&] {
    testing::check(saw_a != 0 || saw_b != 0, "one came first");
    testing::check(a.load().value == (saw_b >= 0 ? 1 : 0), "who lost has done nothing");
    testing::check(b.load().value == (saw_a >= 0 ? 1 : 0), "who lost has done nothing");
  });
}

// Three commits where two versions are left: one is refused, and the versions do not start again.
void runs_out_of_versions(world& w) {
  using cell = versioned<int>;
  struct shared {
    ~shared() {
      testing::check(last.version() == cell::max_version, "the last version is the last");
      testing::check(refused[0] + refused[1] == 1, "one is refused");
    }
    cell last{0, cell::max_version - 2};
    std::array<int, 2> refused{};
  };
  auto* const all = used_by<shared>::make(2);
  const auto count_refusal = [](int& refused, auto commit) {
    try {
      commit();
    } catch (const std::overflow_error&) {
      ++refused;
    }
  };
  w.thread([=] {
    for (int i = 0; i < 2; ++i) {
      count_refusal((*all)->refused[0], [&] { (*all)->last.store(i); });
    }
    all->leave();
  });
  w.thread([=] {
    count_refusal((*all)->refused[1], [&] {
      atomically([&](transaction& t) { t.write((*all)->last, 2); });
    });
    all->leave();
  });
  w.finally([] {});
}

// A body that throws half-way, beside one that reads.
template <class Pair>
void throws_half_way(world& w) {
  auto* const both = used_by<Pair>::make(2);
  w.thread([both] {
    bool thrown = false;
    try {
      atomically([&](transaction& t) {
        using value = std::decay_t<decltype(t.read((*both)->a))>;
        t.write((*both)->a, value(7));
        testing::check(t.read((*both)->a) == 7, "it reads what it wrote");
        throw std::runtime_error("no");
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    testing::check(thrown, "the exception reaches the caller");
    both->leave();
  });
  w.thread([both] {
    testing::check((*both)->difference() == 0, "nothing is published");
    both->leave();
  });
  w.finally([] {});
}

// An exception that comes from two moments is none: the body runs again.
void throws_what_is_not_true(world& w) {
  pair_of<int> both;
  w.thread([&] { both.raise(1); });
  w.thread([&] {
    atomically([&](transaction& t) {
      const int first = t.read(both.a);
      int second = first;
      try {
        second = t.read(both.b);
      } catch (...) {
        throw std::runtime_error("seen in between");
      }
      testing::check(first == second, "a body sees one moment");
    });
  });
  w.finally([] {});
}

// A body that swallows the conflict is run again: what it wrote is not published.
// One writes upwards and one downwards, neither having looked: each finds the other in.
void write_towards_each_other(world& w) {
  pair_of<int> both;
  for (const bool up : {true, false}) {
    w.thread([&both, up] {
      atomically([&](transaction& t) {
        t.write(up ? both.a : both.b, up ? 1 : 2);
        t.write(up ? both.b : both.a, up ? 1 : 2);
      });
    });
  }
  w.finally([&] {
    testing::check(both.a.load().value == both.b.load().value, "one commit is whole");
    testing::check(both.a.version() == 2 && both.b.version() == 2, "both took effect");
  });
}

void swallows_the_conflict(world& w) {
  pair_of<int> both;
  versioned<int> result(5);
  w.thread([&] { both.raise(1); });
  w.thread([&] {
    atomically([&](transaction& t) {
      const int first = t.read(both.a);
      try {
        t.write(result, t.read(both.b) - first);
      } catch (...) {
        t.write(result, 9);
      }
    });
  });
  w.finally([&] { testing::check(result.load().value == 0, "of one moment"); });
}

// One commit releases the waiters of both cells.
void wakes_both(world& w) {
  pair_of<int> both;
  w.thread([&] { both.raise(1); });
  w.thread([&] { testing::check(both.a.wait(0).value == 1, "the commit"); });
  w.thread([&] { testing::check(both.b.wait(0).value == 1, "the commit"); });
  w.finally([] {});
}

void wakes_all(world& w) {
  versioned<int> cell(0);
  w.thread([&] { atomically([&](transaction& t) { t.write(cell, 1); }); });
  for (int i = 0; i < 2; ++i) {
    w.thread([&] { testing::check(cell.wait(0).value == 1, "the commit"); });
  }
  w.finally([] {});
}

// Who waited for the first cell finds the second one written.
void waits_for_one(world& w) {
  pair_of<int> both;
  w.thread([&] { both.raise(1); });
  w.thread([&] {
    testing::check(both.a.wait(0).value == 1, "the commit");
    testing::check(both.b.load().value == 1, "the whole commit");
  });
  w.finally([] {});
}

void write_then_look(world& w) {
  versioned<int> a(0), b(0);
  int saw_a = 0, saw_b = 0;
  w.thread([&] {
    atomically([&](transaction& t) { t.write(a, 1); });
    saw_b = b.load().value;
  });
  w.thread([&] {
    b.store(1);
    saw_a = atomically([&](transaction& t) { return t.read(a); });
  });
  w.finally([&] { testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other"); });
}

}  // namespace

TEST_CASE("transaction: takes effect as a whole and its body sees one moment") {
  proved(one_moment<pair_of<int>, 2>);
  proved(one_moment<pair_of<int, boxed>, 1>);
  proved(raises_and_reads<pair_of<int>, 2>);
  failing(one_moment<naive_pair, 1>);
  failing(one_moment<blind_pair, 1>);
}

TEST_CASE("transaction: commits in opposite orders do not wait for each other for ever") {
  proved(write_towards_each_other);
}

TEST_CASE("transaction: none is lost, beside plain commits as well") {
  proved(raised_by_all<pair_of<int>, 2>);
  proved(raised_by_all<pair_of<int, boxed>, 2>);
  proved(beside_a_plain_commit<pair_of<int>>);
  proved(beside_a_plain_commit<pair_of<boxed>>);
  failing(raised_by_all<sum_in_two_steps, 2>);
}

TEST_CASE("transaction: three raise two cells", "[.deep]") {
  proved(raised_by_all<pair_of<int>, 3>);
}
TEST_CASE("transaction: four raise two cells", "[.deep]") {
  proved(raised_by_all<pair_of<int>, 4>);
}
TEST_CASE("transaction: three raise two cells and read them", "[.deep]") {
  proved(raises_and_reads<pair_of<int>, 3>);
}
TEST_CASE("transaction: two raise and read cells of which one is on the heap", "[.deep]") {
  proved(raises_and_reads<pair_of<int, boxed>, 2>);
}

TEST_CASE("transaction: there is no write skew") {
  proved(no_skew<int>);
  proved(each_reads_the_other);
  failing(naive_skew);
}

TEST_CASE("transaction: there is no write skew of cells on the heap", "[.deep]") {
  proved(no_skew<boxed>);
}

TEST_CASE("transaction: an exception publishes nothing and comes from one moment") {
  proved(throws_half_way<pair_of<int>>);
  proved(throws_half_way<pair_of<boxed>>);
  proved(throws_what_is_not_true);
  proved(swallows_the_conflict);
  proved(runs_out_of_versions);
}

TEST_CASE("transaction: a commit releases the waiters of its cells") {
  proved(wakes_both);
  proved(wakes_all);
  proved(waits_for_one);
}

TEST_CASE("transaction: has one order with plain operations on several cells") {
  proved(write_then_look);
}

TEST_CASE("transaction: mutants", "[.mutants]") {
  mutants({write_then_look, one_moment<pair_of<int>, 1>, raised_by_all<pair_of<int>, 2>,
           no_skew<int>, each_reads_the_other, throws_half_way<pair_of<int>>,
           throws_what_is_not_true, swallows_the_conflict, waits_for_one, wakes_all,
           one_moment<pair_of<int, boxed>, 1>});
}
