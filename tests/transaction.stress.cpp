// SPDX-License-Identifier: BSL-1.0
// Transactions under threads, beside the naive forms that fail in the same harness.

#include <interlock/snapshot.hpp>
#include <interlock/transaction.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <deque>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::atomically;
using interlock::transaction;
using interlock::versioned;

namespace {

struct step_failed {};

// Returns: how often `read_both` saw the cells differ, which its neighbours keep equal.
template <class A, class B, class ReadBoth>
std::size_t differences(std::size_t rounds, versioned<A>& a, versioned<B>& b, ReadBoth read_both) {
  std::atomic<std::size_t> writing = 2;
  std::atomic<std::size_t> differed = 0;
  support::run_threads(4, [&](std::size_t me) {
    if (me >= 2) {
      while (writing != 0) read_both(differed);
      return;
    }
    for (std::size_t i = 0; i < rounds; ++i) {
      atomically([&](transaction& t) {
        const A next = t.read(a) + 1;
        t.write(a, next);
        t.write(b, B{next});
      });
    }
    --writing;
  });
  return differed;
}

// Like std::uint64_t, but not trivially copyable: a cell of it is a node.
struct boxed {
  boxed(std::uint64_t number) : text(std::to_string(number)) {}  // NOLINT: a number in disguise
  operator std::uint64_t() const { return std::stoull(text); }
  std::string text;
};

template <class A, class B>
void no_two_moments() {
  versioned<A> a(0);
  versioned<B> b(0);
  // Looked at inside the body, so what an attempt that will not commit sees counts as well.
  CHECK(differences(support::rounds(200'000), a, b, [&](std::atomic<std::size_t>& differed) {
          atomically([&](transaction& t) {
            const std::uint64_t first = t.read(a);
            std::this_thread::yield();
            if (t.read(b) != first) ++differed;
          });
        }) == 0);
  CHECK(a.load().value == 2 * support::rounds(200'000));
  CHECK(b.version() == a.version());
}

}  // namespace

TEST_CASE("plain loads see half a commit and a transaction's body never does") {
  bool naive_saw_halves = false;
  for (int attempt = 0; attempt < 50 && !naive_saw_halves; ++attempt) {
    versioned<std::uint64_t> a;
    versioned<std::uint64_t> b;
    naive_saw_halves =
        differences(support::rounds(200'000), a, b, [&](std::atomic<std::size_t>& differed) {
          const auto first = a.load().value;
          std::this_thread::yield();
          if (b.load().value != first) ++differed;
        }) != 0;
  }
  CHECK(naive_saw_halves);
  no_two_moments<std::uint64_t, std::uint64_t>();
  no_two_moments<std::uint64_t, boxed>();
}

TEST_CASE("two updates lose money when a step throws half-way and a transaction does not") {
  constexpr std::size_t accounts = 8;
  const auto total_after = [](auto transfer) {
    std::deque<versioned<std::int64_t>> bank;
    for (std::size_t i = 0; i < accounts; ++i) bank.emplace_back(1000);
    support::run_threads(4, [&](std::size_t me) {
      for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
        try {
          auto& from = bank[(i * 7 + me) % accounts];
          auto& to = bank[(i * 3 + 2 * me + 1) % accounts];
          transfer(from, to, i % 5 == 0);
        } catch (const step_failed&) {
        }
      }
    });
    std::int64_t total = 0;
    for (auto& account : bank) total += account.load().value;
    return total;
  };
  CHECK(total_after([](auto& from, auto& to, bool fails) {
          from.update([](std::int64_t& money) { --money; });
          if (fails) throw step_failed();
          to.update([](std::int64_t& money) { ++money; });
        }) != 8000);
  CHECK(total_after([](auto& from, auto& to, bool fails) {
          atomically([&](transaction& t) {
            t.update(from, [](std::int64_t& money) { --money; });
            if (fails) throw step_failed();
            t.update(to, [](std::int64_t& money) { ++money; });
          });
        }) == 8000);
}

TEST_CASE("checking one cell and writing another skews and a transaction does not") {
  // Each account may be overdrawn as long as the sum stays at 0 or more.
  struct customer {
    versioned<std::int64_t> a{1};
    versioned<std::int64_t> b{1};
  };
  const auto worst_sum = [](auto withdraw) {
    std::deque<customer> customers(support::rounds(10'000));
    std::barrier same_time(2);
    support::run_threads(2, [&](std::size_t me) {
      for (customer& c : customers) {
        same_time.arrive_and_wait();
        withdraw(c.a, c.b, me == 0 ? c.a : c.b);
      }
    });
    std::int64_t worst = 0;
    for (customer& c : customers) worst = std::min(worst, c.a.load().value + c.b.load().value);
    return worst;
  };
  bool naive_overdrawn = false;
  for (int attempt = 0; attempt < 50 && !naive_overdrawn; ++attempt) {
    naive_overdrawn = worst_sum([](auto& a, auto& b, auto& mine) {
                        // Each cell for itself is without a lost update: that is not enough.
                        if (a.load().value + b.load().value < 2) return;
                        std::this_thread::yield();
                        mine.update([](std::int64_t& money) { money -= 2; });
                      }) < 0;
  }
  CHECK(naive_overdrawn);
  CHECK(worst_sum([](auto& a, auto& b, auto& mine) {
          atomically([&](transaction& t) {
            if (t.read(a) + t.read(b) < 2) return;
            t.update(mine, [](std::int64_t& money) { money -= 2; });
            std::this_thread::yield();
          });
        }) == 0);
}

TEST_CASE("plain commits and transactions on the same cells lose nothing") {
  versioned<std::uint64_t> a;
  versioned<boxed> b(0);
  const std::size_t each = support::rounds(60'000);
  support::run_threads(4, [&](std::size_t me) {
    for (std::size_t i = 0; i < each; ++i) {
      switch (me) {
        case 0:
          a.update([](std::uint64_t n) { return n + 1; });
          break;
        case 1:
          b.update([](const boxed& n) { return boxed(n + 1); });
          break;
        default:
          atomically([&](transaction& t) {
            t.update(a, [](std::uint64_t n) { return n + 1; });
            t.update(b, [](const boxed& n) { return boxed(n + 1); });
          });
      }
    }
  });
  CHECK(a.load().value == 3 * each);
  CHECK(b.load().value == 3 * each);
  CHECK(a.version() == 3 * each);
  CHECK(b.version() == 3 * each);
}

TEST_CASE("independent writes are seen in one order by all readers") {
  versioned<std::uint64_t> x;
  versioned<std::uint64_t> y;
  std::atomic<std::size_t> writing = 2;
  struct sighting {
    std::uint64_t x, y;
  };
  std::array<std::deque<sighting>, 2> seen;
  support::run_threads(4, [&](std::size_t me) {
    if (me < 2) {
      for (std::size_t i = 0; i < support::rounds(200'000); ++i) (me == 0 ? x : y).store(i + 1);
      --writing;
      return;
    }
    while (writing != 0) {
      const auto now = atomically([&](transaction& t) {
        const auto first = t.read(me == 2 ? x : y);
        const auto second = t.read(me == 2 ? y : x);
        return me == 2 ? sighting{first, second} : sighting{second, first};
      });
      auto& mine = seen[me - 2];
      if (mine.empty() || mine.back().x != now.x || mine.back().y != now.y) mine.push_back(now);
    }
  });
  // Snapshots of one order are comparable: none has more of x and less of y than another.
  std::size_t crossed = 0;
  auto other = seen[1].begin();
  for (const sighting& one : seen[0]) {
    while (other != seen[1].end() && other->x < one.x) {
      if (other->y > one.y) ++crossed;
      ++other;
    }
    if (other != seen[1].end() && other->x > one.x && other->y < one.y) ++crossed;
  }
  CHECK(crossed == 0);
}

TEST_CASE("losers take turns and all of them finish") {
  // Everybody rewrites everything, more threads than cores, bodies that give up the core half-way.
  std::array<versioned<std::uint64_t>, 4> cells;
  const std::size_t each = support::rounds(1'000);
  support::run_threads(8, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      atomically([&](transaction& t) {
        for (auto& cell : cells) {
          const auto n = t.read(cell);
          std::this_thread::yield();
          t.write(cell, n + 1);
        }
      });
    }
  });
  for (auto& cell : cells) CHECK(cell.load().value == 8 * each);
}

TEST_CASE("money is neither lost nor made by updates and claims and plain commits together") {
  constexpr std::size_t accounts = 16;
  constexpr std::int64_t each = 1000;
  // Returns: how many sums were wrong, and what is missing at the end.
  const auto run = [](auto transfer) {
    std::array<versioned<std::int64_t>, accounts> bank;
    for (auto& account : bank) account.store(each);
    std::atomic<std::size_t> working = 3;
    std::atomic<std::size_t> wrong = 0;
    versioned<std::int64_t> beside;
    support::run_threads(5, [&](std::size_t me) {
      if (me < 3) {
        for (std::size_t i = 0; i < support::rounds(40'000); ++i) {
          auto& from = bank[(i * 7 + me) % accounts];
          auto& to = bank[(i * 5 + 3 * me + 1) % accounts];
          if (&from != &to) transfer(me, i, from, to);
          if (i % 16 == 0) beside.update([](std::int64_t n) { return n + 1; });
        }
        --working;
        return;
      }
      while (working != 0) {
        std::int64_t sum = 0;
        if (me == 3) {
          for (const std::int64_t money : interlock::snapshot(bank)) sum += money;
        } else {
          sum = atomically([&](transaction& t) {
            std::int64_t all = 0;
            for (auto& account : bank) all += t.read(account);
            return all;
          });
        }
        if (sum != accounts * each) ++wrong;
      }
    });
    std::int64_t total = 0;
    for (auto& account : bank) total += account.load().value;
    return std::pair(wrong.load(), total - std::int64_t{accounts * each});
  };
  const auto honest = run([](std::size_t me, std::size_t i, auto& from, auto& to) {
    atomically([&](transaction& t) {
      const auto take = [](std::int64_t& money) { --money; };
      const auto give = [](std::int64_t& money) { ++money; };
      if (me == 0) {
        t.update(from, take);
        t.update(to, give);
      } else if (me == 1) {
        t.update_locked(from, take);
        if (i % 128 == 0) std::this_thread::yield();
        t.update_locked(to, give);
      } else {
        t.update_locked(to, give);
        t.update(from, take);
      }
    });
  });
  CHECK(honest.first == 0);
  CHECK(honest.second == 0);
  bool naive_was_seen = false;
  for (int attempt = 0; attempt < 50 && !naive_was_seen; ++attempt) {
    const auto naive = run([](std::size_t, std::size_t i, auto& from, auto& to) {
      from.update([](std::int64_t& money) { --money; });
      if (i % 128 == 0) std::this_thread::yield();
      to.update([](std::int64_t& money) { ++money; });
    });
    naive_was_seen = naive.first != 0;
  }
  CHECK(naive_was_seen);
}
