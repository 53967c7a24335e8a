// SPDX-License-Identifier: BSL-1.0
// Claims, waiting, alternatives and snapshots in every execution.

#include "testing/front.hpp"

#include <interlock/snapshot.hpp>
#include <interlock/testing/explored_history.hpp>
#include <interlock/testing/specifications.hpp>
#include <interlock/transaction.hpp>

#include <array>
#include <tuple>

using interlock::atomically;
using interlock::snapshot;
using interlock::transaction;
using interlock::versioned;
using testing::world;

namespace {

using cell = versioned<int>;
struct two_cells {
  cell a{0};
  cell b{0};
};

void raise(int& n) { ++n; }

struct by_claims {
  static void add(transaction& t, cell& of) { t.update_locked(of, raise); }
};
struct by_updates {
  static void add(transaction& t, cell& of) { t.update(of, raise); }
};

// One raises both cells in this order, the other in that; each may lose, and then has done nothing.
// Attempts that lose to a thread which does not go on have no end, so they are counted.
template <class One, class Other, bool same_order, std::size_t attempts>
void raised_by_two(world& w) {
  auto* const both = new two_cells;
  int done[2] = {};
  w.thread([&, both] {
    done[0] = atomically(
        [&](transaction& t) {
          One::add(t, both->a);
          One::add(t, both->b);
        },
        attempts).has_value();
  });
  w.thread([&, both] {
    done[1] = atomically(
        [&](transaction& t) {
          Other::add(t, same_order ? both->a : both->b);
          Other::add(t, same_order ? both->b : both->a);
        },
        attempts).has_value();
  });
  w.finally([&, both] {
    const int expected = done[0] + done[1];
    testing::check(both->a.load().value == expected, "none is lost, none is half done");
    testing::check(both->b.load().value == expected, "none is lost, none is half done");
    delete both;
  });
}

// One has claimed b and reads a, the other is in a and wants b: he must not wait there.
void meets_a_claim(world& w) {
  auto* const both = new two_cells;
  w.thread([both] {
    (void)atomically(
        [&](transaction& t) {
          by_claims::add(t, both->b);
          return t.read(both->a);
        },
        1);
  });
  w.thread([both] {
    (void)atomically(
        [&](transaction& t) {
          t.write(both->a, 5);
          t.write(both->b, 5);
        },
        1);
  });
  w.finally([both] {
    const bool five = both->a.load().value == 5;
    const int b = both->b.load().value;
    testing::check(five ? b >= 5 : b <= 1, "whole or not at all");
    delete both;
  });
}

// A plain writer waits for the claim; nothing comes between.
void beside_a_plain_commit(world& w) {
  two_cells both;
  w.thread([&] {
    atomically([&](transaction& t) {
      by_claims::add(t, both.a);
      by_claims::add(t, both.b);
    });
  });
  w.thread([&] { both.a.update([](int n) { return n + 10; }); });
  w.finally([&] {
    testing::check(both.a.load().value == 11 && both.b.load().value == 1, "none is lost");
  });
}

struct look_by_snapshot {
  static std::tuple<int, int> both(two_cells& of) { return snapshot(of.a, of.b); }
};
struct look_by_transaction {
  static std::tuple<int, int> both(two_cells& of) {
    return atomically([&](transaction& t) {
      const int first = t.read(of.a);
      return std::tuple(first, t.read(of.b));
    });
  }
};
// What a snapshot must not be.
struct look_twice {
  static std::tuple<int, int> both(two_cells& of) {
    const int first = of.a.load().value;
    return {first, of.b.load().value};
  }
};

template <class Add, class Look>
void one_moment(world& w) {
  two_cells both;
  w.thread([&] {
    atomically([&](transaction& t) {
      Add::add(t, both.a);
      Add::add(t, both.b);
    });
  });
  w.thread([&] {
    const auto [a, b] = Look::both(both);
    testing::check(a == b, "the cells are equal at each moment");
  });
  w.finally([] {});
}

// The way in for tests: a transaction that forgets what it has read, and so does not look back.
auto& log_of(transaction& t);
template <auto Log>
struct way_to_log {
  friend auto& log_of(transaction& t) { return t.*Log; }
};
template struct way_to_log<&transaction::log_>;
auto& records_of(interlock::detail::transaction_log& log);
template <auto Records>
struct way_to_records {
  friend auto& records_of(interlock::detail::transaction_log& log) { return log.*Records; }
};
template struct way_to_records<&interlock::detail::transaction_log::records_>;

void seeded_without_a_look_back(world& w) {
  two_cells both;
  w.thread([&] {
    atomically([&](transaction& t) {
      by_updates::add(t, both.a);
      by_updates::add(t, both.b);
    });
  });
  w.thread([&] {
    atomically([&](transaction& t) {
      const int first = t.read(both.a);
      for (auto& record : records_of(log_of(t))) record.what = {};
      testing::check(first == t.read(both.b), "a body sees one moment");
    });
  });
  w.finally([] {});
}

// Commits of one cell each, then a look at the other's: one of them sees the other.
template <class One, class Other>
void commit_then_look(world& w) {
  two_cells both;
  int saw_a = -1, saw_b = -1;
  w.thread([&] {
    atomically([&](transaction& t) { One::add(t, both.a); });
    saw_b = both.b.load().value;
  });
  w.thread([&] {
    atomically([&](transaction& t) { Other::add(t, both.b); });
    saw_a = both.a.load().value;
  });
  w.finally([&] { testing::check(saw_a == 1 || saw_b == 1, "one of them sees the other"); });
}

// Each claims one cell and reads the other: of two that commit, one has seen the other.
template <class One, class Other>
void each_reads_the_other(world& w) {
  two_cells both;
  int saw_a = -1, saw_b = -1;
  w.thread([&] {
    saw_b = atomically(
                [&](transaction& t) {
                  One::add(t, both.a);
                  return t.read(both.b);
                },
                1)
                .value_or(-1);
  });
  w.thread([&] {
    saw_a = atomically(
                [&](transaction& t) {
                  Other::add(t, both.b);
                  return t.read(both.a);
                },
                1)
                .value_or(-1);
  });
  w.finally([&] {
    testing::check(saw_a != 0 || saw_b != 0, "one came first");
    testing::check(both.a.load().value == (saw_b >= 0 ? 1 : 0), "who lost has done nothing");
    testing::check(both.b.load().value == (saw_a >= 0 ? 1 : 0), "who lost has done nothing");
  });
}

// A claim does not stop readers. Who still finds the old value, and b changed, must come before a
// commit that found b as it was: so the commit is busy before it looks at b for the last time.
void no_circle_through_a_reader(world& w) {
  two_cells both;
  int writer_saw = -1;
  w.thread([&] {
    writer_saw = atomically(
                     [&](transaction& t) {
                       by_claims::add(t, both.a);
                       return t.read(both.b);
                     },
                     1)
                     .value_or(-1);
  });
  w.thread([&] { both.b.store(1); });
  int saw_a = -1, saw_b = -1;
  w.thread([&] { std::tie(saw_b, saw_a) = snapshot(both.b, both.a); });
  w.finally([&] {
    const bool circle = writer_saw == 0 && saw_b == 1 && saw_a == 0;
    testing::check(!circle, "one order");
  });
}

// Every attempt is recorded, also the one that is given up. Cells count their own commits.
template <class One, class Other>
void recorded(world& w) {
  using attempt = testing::attempt;
  struct state {
    two_cells cells;
    testing::explored_history<attempt> calls;
  };
  auto* const all = new state;
  const auto add_and_read = [all](auto add, std::uint32_t written, std::uint32_t read) {
    const std::array<cell*, 2> cells{&all->cells.a, &all->cells.b};
    all->calls.record({}, [&](attempt& now) {
      int seen_by_add = 0;
      const auto done = atomically(
          [&](transaction& t) {
            add(t, *cells[written], [&](int& n) { seen_by_add = n++; });
            now.reads.push_back({written, static_cast<std::uint64_t>(seen_by_add)});
            now.reads.push_back({read, static_cast<std::uint64_t>(t.read(*cells[read]))});
          },
          1);
      now.committed = done.has_value();
      if (done) now.writes.push_back({written, static_cast<std::uint64_t>(seen_by_add) + 1});
    });
  };
  w.thread([=] { add_and_read(One{}, 0, 1); });
  w.thread([=] {
    add_and_read(Other{}, 1, 0);
    add_and_read(Other{}, 0, 1);
  });
  w.finally([all] {
    all->calls.check(testing::cells_state{});
    delete all;
  });
}
struct claims {
  template <class F>
  void operator()(transaction& t, cell& of, F f) const {
    t.update_locked(of, f);
  }
};
struct updates {
  template <class F>
  void operator()(transaction& t, cell& of, F f) const {
    t.update(of, f);
  }
};

// How a cell becomes 1.
struct plainly {
  static void set(cell& of) { of.store(1); }
};
template <class Add>
struct in_a_transaction {
  static void set(cell& of) {
    atomically([&](transaction& t) { Add::add(t, of); });
  }
};

// A wake-up that is missed is a deadlock.
template <class How>
void retry_until_set(world& w) {
  two_cells both;
  w.thread([&] { How::set(both.b); });
  w.thread([&] {
    const int seen = atomically([&](transaction& t) {
      const int sum = t.read(both.a) + t.read(both.b);
      if (sum == 0) t.retry();
      return sum;
    });
    testing::check(seen == 1, "the commit");
  });
  w.finally([] {});
}

// What a retry must not be: a look, and then a wait for the next change.
void naive_retry(world& w) {
  two_cells both;
  w.thread([&] { both.b.store(1); });
  w.thread([&] {
    if (both.b.load().value == 0) (void)both.b.wait(both.b.version());
  });
  w.finally([] {});
}

// Two wait for each other's cells in turn.
void ping_pong(world& w) {
  two_cells both;
  const auto hand_over = [](cell& wanted, cell& given) {
    atomically([&](transaction& t) {
      if (t.read(wanted) == 0) t.retry();
      t.write(given, 1);
    });
  };
  w.thread([&] { hand_over(both.a, both.b); });
  w.thread([&] {
    both.a.store(1);
    atomically([&](transaction& t) {
      if (t.read(both.b) == 0) t.retry();
    });
  });
  w.finally([] {});
}

// Either cell ends the wait of two alternatives, and what the first one wrote is never seen.
void either_alternative(world& w) {
  auto* const all = new std::array<cell, 3>{cell(0), cell(0), cell(0)};
  w.thread([all] { (*all)[1].store(1); });
  w.thread([all] {
    const auto take = [all](std::size_t which) {
      return [all, which](transaction& t) {
        t.write((*all)[2], static_cast<int>(which) + 1);
        if (t.read((*all)[which]) == 0) t.retry();
        return static_cast<int>(which);
      };
    };
    const int got = atomically([&](transaction& t) { return t.or_else(take(0), take(1)); });
    testing::check(got == 1, "the one that could");
  });
  w.finally([all] {
    testing::check((*all)[2].load().value == 2, "the first one's write is undone");
    testing::check((*all)[2].version() == 1, "one commit");
    delete all;
  });
}

// What the first alternative has read decides: the second one's commit comes before it changes.
void alternative_is_checked(world& w) {
  two_cells both;
  int saw_b = -1;
  bool second = false;
  w.thread([&] {
    both.a.store(1);
    saw_b = both.b.load().value;
  });
  w.thread([&] {
    second = atomically([&](transaction& t) {
      return t.or_else(
          [&](transaction& u) {
            if (u.read(both.a) == 0) u.retry();
            return false;
          },
          [&](transaction& u) {
            u.write(both.b, 1);
            return true;
          });
    });
  });
  w.finally([&] {
    testing::check(!second || saw_b == 1, "the second one came before the store");
  });
}

}  // namespace

TEST_CASE("transaction: claims lose nothing and cause no deadlock") {
  proved(raised_by_two<by_claims, by_claims, true, 2>);
  proved(raised_by_two<by_claims, by_claims, false, 1>);
  proved(raised_by_two<by_claims, by_updates, true, 1>);
  proved(raised_by_two<by_updates, by_updates, false, 1>);
  proved(meets_a_claim);
  proved(beside_a_plain_commit);
}

TEST_CASE("transaction: claims in opposite orders and twice", "[.deep]") {
  proved(raised_by_two<by_claims, by_claims, false, 2>);
  proved(raised_by_two<by_updates, by_updates, false, 2>);
}
TEST_CASE("transaction: claims beside updates and twice", "[.deep]") {
  proved(raised_by_two<by_claims, by_updates, true, 2>);
}

TEST_CASE("transaction: a commit with claims is seen whole and in one order") {
  proved(one_moment<by_claims, look_by_snapshot>);
  proved(one_moment<by_claims, look_by_transaction>);
  proved(commit_then_look<by_claims, by_claims>);
  proved(commit_then_look<by_claims, by_updates>);
  proved(each_reads_the_other<by_claims, by_claims>);
  proved(each_reads_the_other<by_claims, by_updates>);
  proved(no_circle_through_a_reader);
}

TEST_CASE("transaction: attempts are opaque and serializable, those that are given up as well") {
  proved(recorded<updates, updates>);
  proved(recorded<claims, updates>);
  proved(recorded<claims, claims>);
  failing(seeded_without_a_look_back);
}

TEST_CASE("transaction: a retry misses no change") {
  proved(retry_until_set<plainly>);
  proved(retry_until_set<in_a_transaction<by_updates>>);
  proved(retry_until_set<in_a_transaction<by_claims>>);
  proved(ping_pong);
  failing(naive_retry);
}

TEST_CASE("transaction: of two alternatives one takes effect") {
  proved(either_alternative);
  proved(alternative_is_checked);
}

TEST_CASE("snapshot: all values are of one moment") {
  proved(one_moment<by_updates, look_by_snapshot>);
  failing(one_moment<by_updates, look_twice>);
}

TEST_CASE("transaction: mutants of what it is put together from", "[.mutants]") {
  mutants({commit_then_look<by_claims, by_claims>, one_moment<by_claims, look_by_snapshot>,
           each_reads_the_other<by_claims, by_updates>, no_circle_through_a_reader,
           raised_by_two<by_claims, by_claims, false, 1>, beside_a_plain_commit, ping_pong,
           retry_until_set<in_a_transaction<by_claims>>, either_alternative, meets_a_claim});
}
