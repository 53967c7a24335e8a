// SPDX-License-Identifier: BSL-1.0
// atomically(): the contract, over both kinds of storage.

#include <interlock/transaction.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::atomically;
using interlock::transaction;
using interlock::versioned;

namespace {

// A value of non-trivial type that counts its objects.
struct tracked {
  explicit tracked(int v) : value(v) { ++alive; }
  tracked(const tracked& other) : value(other.value) { ++alive; }
  tracked& operator=(const tracked&) = delete;
  ~tracked() { --alive; }
  int value;
  static inline std::atomic<int> alive = 0;
};

struct not_enough_money : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void transfer(transaction& t, versioned<int>& from, versioned<int>& to, int amount) {
  t.update(from, [&](int& money) { money -= amount; });
  if (t.read(from) < 0) throw not_enough_money("from");
  t.update(to, [&](int& money) { money += amount; });
}

// A commit by somebody else in the middle of a body, from a thread of its own.
template <class F>
void meanwhile(F f) {
  std::thread(f).join();
}

static_assert(!std::is_copy_constructible_v<transaction>);
static_assert(!std::is_default_constructible_v<transaction>);

}  // namespace

TEST_CASE("A transaction takes effect as a whole or not at all") {
  versioned<int> number(1);
  versioned<std::string> text("one");
  versioned<std::array<int, 100>> large;
  atomically([&](transaction& t) {
    t.write(number, 2);
    t.write(text, "two");
    t.update(large, [](auto& a) { a[99] = 2; });
    // Nothing is to be seen before the commit, by plain loads of this thread either.
    CHECK(number.load().value == 1);
    CHECK(text.load().value == "one");
  });
  CHECK(number.load().value == 2);
  CHECK(text.load().value == "two");
  CHECK(large.load().value[99] == 2);
  CHECK(number.version() == 1);
  CHECK(text.version() == 1);
  CHECK(large.version() == 1);

  // Under threads: transfers between all pairs of accounts while a third thread adds them up.
  constexpr std::size_t accounts = 5;
  std::deque<versioned<int>> bank;
  for (std::size_t i = 0; i < accounts; ++i) bank.emplace_back(100);
  std::atomic<bool> done = false;
  std::atomic<std::size_t> wrong_sums = 0;
  support::run_threads(3, [&](std::size_t me) {
    if (me == 2) {
      while (!done) {
        const int sum = atomically([&](transaction& t) {
          int total = 0;
          for (const auto& account : bank) total += t.read(account);
          return total;
        });
        if (sum != 500) ++wrong_sums;
      }
      return;
    }
    for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
      auto& from = bank[(i + me) % accounts];
      auto& to = bank[(i * 3 + 1) % accounts];
      try {
        atomically([&](transaction& t) { transfer(t, from, to, 7); });
      } catch (const not_enough_money&) {
      }
    }
    if (me == 0) done = true;
  });
  CHECK(wrong_sums == 0);
  int sum = 0;
  for (const auto& account : bank) sum += account.load().value;
  CHECK(sum == 500);
}

TEST_CASE("The body never sees two moments at once") {
  // Another commit between the two reads: the second read leaves the body.
  versioned<int> a(1);
  versioned<std::string> b("1");
  int runs = 0;
  int finished = 0;
  atomically([&](transaction& t) {
    const int first = t.read(a);
    if (++runs == 1) {
      meanwhile([&] {
        atomically([&](transaction& other) {
          other.write(a, 2);
          other.write(b, "2");
        });
      });
    }
    const std::string second = t.read(b);
    ++finished;
    CHECK(std::to_string(first) == second);
  });
  CHECK(runs == 2);
  CHECK(finished == 1);

  // The same with plain commits, and for a cell read twice.
  runs = 0;
  atomically([&](transaction& t) {
    const int first = t.read(a);
    if (++runs == 1) meanwhile([&] { a.store(3); });
    const int again = t.read(a);  // not inside CHECK, which swallows every exception
    CHECK(again == first);
  });
  CHECK(runs == 2);
}

TEST_CASE("Transactions are serializable so there is no write skew") {
  // Two doctors on call, at least one has to stay; each looks at both and signs off alone.
  std::size_t nobody_left = 0;
  for (std::size_t i = 0; i < support::rounds(5'000); ++i) {
    versioned<bool> alice(true);
    versioned<bool> bob(true);
    support::run_threads(2, [&](std::size_t me) {
      atomically([&](transaction& t) {
        const bool both = t.read(alice) && t.read(bob);
        if (both) t.write(me == 0 ? alice : bob, false);
      });
    });
    if (!alice.load().value && !bob.load().value) ++nobody_left;
  }
  CHECK(nobody_left == 0);

  // And step by step: what was only read is checked at the commit.
  versioned<int> read_only(0);
  versioned<int> written(0);
  int runs = 0;
  atomically([&](transaction& t) {
    t.write(written, t.read(read_only) + 1);
    if (++runs == 1) meanwhile([&] { read_only.store(10); });
  });
  CHECK(runs == 2);
  CHECK(written.load().value == 11);
}

TEST_CASE("A transaction reads what it wrote") {
  versioned<int> number(1);
  versioned<std::string> text("a");
  versioned<std::array<char, 200>> large;
  const int result = atomically([&](transaction& t) {
    t.write(number, 5);
    CHECK(t.read(number) == 5);
    t.update(number, [](int n) { return n * 2; });
    t.update(text, [](std::string& s) { s += "b"; });
    t.update(text, [](std::string& s) { s += "c"; });
    t.update(large, [](auto& a) { a[199] = 'z'; });
    CHECK(t.read(text) == "abc");
    CHECK(t.read(large)[199] == 'z');
    return t.read(number);
  });
  CHECK(result == 10);
  CHECK(number.load().value == 10);
  CHECK(number.version() == 1);  // one commit, however often it was written
  CHECK(text.load().value == "abc");
}

TEST_CASE("An exception that leaves the body publishes nothing") {
  versioned<int> from(10);
  versioned<int> to(0);
  versioned<std::string> note("before");
  CHECK_THROWS_AS(atomically([&](transaction& t) {
    t.write(note, "after");
    transfer(t, from, to, 11);
  }),
                  not_enough_money);
  CHECK(from.load().value == 10);
  CHECK(to.load().value == 0);
  CHECK(note.load().value == "before");
  CHECK(from.version() + to.version() + note.version() == 0);
  atomically([&](transaction& t) { transfer(t, from, to, 10); });  // and nothing is stuck
  CHECK(to.load().value == 10);

  // It tells of one moment: thrown because of what is no longer true, it is not the caller's.
  int runs = 0;
  atomically([&](transaction& t) {
    const int money = t.read(from);
    if (++runs == 1) meanwhile([&] { from.store(50); });
    if (money < 20) throw not_enough_money("was true once");
    t.write(to, money);
  });
  CHECK(runs == 2);
  CHECK(to.load().value == 50);
}

TEST_CASE("A transaction that keeps losing to other transactions gets a turn and commits") {
  // A long body against short ones that change what it reads, again and again.
  std::deque<versioned<std::uint64_t>> cells(40);
  std::atomic<bool> done = false;
  std::uint64_t runs = 0;
  support::run_threads(3, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 0; i < 20; ++i) {
        atomically([&](transaction& t) {
          ++runs;
          std::uint64_t sum = 0;
          for (auto& cell : cells) {
            sum += t.read(cell);
            std::this_thread::yield();
          }
          t.write(cells[0], sum);
        });
      }
      done = true;
    } else {
      for (std::size_t i = me; !done; ++i) {
        atomically([&](transaction& t) {
          t.update(cells[i % 40], [](std::uint64_t n) { return n + 1; });
        });
      }
    }
  });
  CHECK(runs >= 20);
  CHECK(runs <= 20 * 40);
}

TEST_CASE("a body with the turn may take a lock that another caller of atomically holds") {
  versioned<int> mine(0);
  versioned<int> other(0);
  std::mutex lock;
  std::atomic<bool> locked = false;
  std::atomic<bool> has_turn = false;
  int attempts = 0;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      while (!locked) std::this_thread::yield();
      atomically([&](transaction& t) {
        t.update(mine, [](int n) { return n + 1; });
        if (++attempts <= 16) {
          mine.store(0);  // a plain commit on what was read: this attempt loses
        } else {
          has_turn = true;
          const std::lock_guard hold(lock);
        }
      });
    } else {
      const std::lock_guard hold(lock);
      locked = true;
      while (!has_turn) std::this_thread::yield();
      atomically([&](transaction& t) { t.write(other, 1); });  // would wait for ever for the turn
    }
  });
  CHECK(attempts >= 17);
  CHECK(mine.load().value == 1);
  CHECK(other.load().value == 1);
}

TEST_CASE("a read-only transaction writes nothing") {
  versioned<int> a(1);
  versioned<std::string> b("b");
  const auto both = atomically([&](transaction& t) { return std::pair(t.read(a), t.read(b)); });
  CHECK(both == std::pair(1, std::string("b")));
  CHECK(a.version() == 0);
  CHECK(b.version() == 0);
  atomically([](transaction&) {});
}

TEST_CASE("a write without a read replaces whatever is there") {
  versioned<int> cell(1);
  int runs = 0;
  atomically([&](transaction& t) {
    t.write(cell, 100);
    if (++runs == 1) meanwhile([&] { cell.store(2); });
  });
  CHECK(runs == 1);
  CHECK(cell.load().value == 100);
  CHECK(cell.version() == 2);
}

TEST_CASE("with a limit the outcome says whether it took effect") {
  versioned<int> cell(0);
  int runs = 0;
  const auto lose = [&](transaction& t) {
    ++runs;
    const int seen = t.read(cell);
    meanwhile([&] { cell.store(seen + 1); });
    t.write(cell, -1);
    return seen;
  };
  CHECK(atomically(lose, 3) == std::nullopt);
  CHECK(runs == 3);
  CHECK(cell.load().value == 3);
  CHECK(atomically(lose, 0) == std::nullopt);
  CHECK(runs == 3);
  CHECK(atomically(lose, 40) == std::nullopt);  // by turn, too: plain commits need none
  CHECK(runs == 43);
  CHECK_FALSE(atomically([&](transaction& t) { (void)lose(t); }, 2));

  CHECK(atomically([&](transaction& t) { return t.read(cell); }, 1) == 45);
  CHECK(atomically([&](transaction& t) { t.write(cell, 7); }, 1));
  CHECK(cell.load().value == 7);
}

TEST_CASE("a body that swallows every exception cannot commit half of the truth") {
  versioned<int> a(1);
  versioned<int> b(1);
  versioned<int> copy(0);
  int runs = 0;
  int swallowed = 0;
  atomically([&](transaction& t) {
    int sum = t.read(a);
    if (++runs == 1) {
      meanwhile([&] {
        a.store(2);
        b.store(2);
      });
    }
    for (int i = 0; i < 2; ++i) {
      try {
        sum += t.read(b);
      } catch (...) {
        ++swallowed;
      }
    }
    t.write(copy, sum);
  });
  CHECK(runs == 2);
  CHECK(swallowed == 2);
  CHECK(copy.load().value == 6);
  CHECK(copy.version() == 1);

  // With nothing to write it is run again as well.
  runs = 0;
  const int sum = atomically([&](transaction& t) {
    int total = t.read(a);
    if (++runs == 1) meanwhile([&] { a.store(5); });
    try {
      total += t.read(b);
    } catch (...) {
    }
    return total;
  });
  CHECK(runs == 2);
  CHECK(sum == 7);
}

TEST_CASE("many cells and large values spill to the heap") {
  std::deque<versioned<int>> numbers(200);
  std::deque<versioned<std::array<int, 60>>> arrays(30);
  std::deque<versioned<std::string>> texts(30);
  for (int round = 1; round <= 3; ++round) {
    atomically([&](transaction& t) {
      for (auto& cell : numbers) t.update(cell, [](int n) { return n + 1; });
      for (auto& cell : arrays) t.update(cell, [](auto& a) { ++a[59]; });
      for (auto& cell : texts) {
        t.update(cell, [](std::string& s) { s += "a string of some length"; });
      }
      for (auto& cell : arrays) t.update(cell, [](auto& a) { ++a[0]; });
    });
    for (auto& cell : numbers) REQUIRE(cell.load().value == round);
    for (auto& cell : arrays) {
      REQUIRE(cell.load().value[59] == round);
      REQUIRE(cell.load().value[0] == round);
    }
    for (auto& cell : texts) {
      REQUIRE(cell.load().value.size() == 23U * static_cast<unsigned>(round));
    }
  }
}

TEST_CASE("a commit wakes those who wait for its cells") {
  // Ping-pong: one wake-up missed and both wait for ever.
  versioned<int> ping;
  versioned<std::string> pong;
  versioned<int> turns;
  const std::uint64_t rounds = support::rounds(5'000);
  support::run_threads(2, [&](std::size_t me) {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (me == 1) (void)ping.wait(i);
      atomically([&](transaction& t) {
        t.update(turns, [](int n) { return n + 1; });
        if (me == 0) {
          t.write(ping, 1);
        } else {
          t.write(pong, "1");
        }
      });
      if (me == 0) (void)pong.wait(i);
    }
  });
  CHECK(turns.version() == 2 * rounds);
}

TEST_CASE("a cell without versions left fails the whole commit") {
  versioned<int> last(1);
  REQUIRE(last.store_if_newer(versioned<int>::max_version, 2));
  versioned<int> other(1);
  const auto write_both = [&](transaction& t) {
    t.write(other, 5);
    t.write(last, 5);
  };
  CHECK_THROWS_AS(atomically(write_both), std::overflow_error);
  CHECK(other.load().value == 1);
  CHECK(other.store(3) == 1);  // and neither is stuck
  CHECK(last.load().value == 2);
}

TEST_CASE("every value is destroyed once whether committed or not") {
  REQUIRE(tracked::alive == 0);
  {
    versioned<tracked> a(tracked(0));
    versioned<tracked> b(tracked(0));
    const auto more = [](const tracked& v) { return tracked(v.value + 1); };
    atomically([&](transaction& t) {
      t.update(a, more);
      t.update(a, more);
      t.write(b, tracked(t.read(a).value));
    });
    CHECK(tracked::alive == 2);
    CHECK_THROWS(atomically([&](transaction& t) {
      t.update(a, more);
      throw std::runtime_error("no");
    }));
    CHECK(tracked::alive == 2);
    CHECK_FALSE(atomically(
        [&](transaction& t) {
          t.update(a, more);
          meanwhile([&] { a.update(more); });
        },
        5));
    CHECK(tracked::alive == 2);
    CHECK(a.load().value.value == 7);
  }
  CHECK(tracked::alive == 0);
}

TEST_CASE("the result may be move-only and the body a function") {
  versioned<int> cell(3);
  const auto result =
      atomically([&](transaction& t) { return std::make_unique<int>(t.read(cell)); });
  CHECK(*result == 3);
  int (*const one)(transaction&) = [](transaction&) { return 1; };
  CHECK(atomically(one) == 1);
}

TEST_CASE("a value that cannot be assigned may be written more than once") {
  struct fixed {
    const int number;
  };
  versioned<fixed> cell(fixed{1});
  atomically([&](transaction& t) {
    t.write(cell, fixed{2});
    t.update(cell, [](const fixed& f) { return fixed{f.number + 1}; });
  });
  CHECK(cell.load().value.number == 3);
}
