// SPDX-License-Identifier: BSL-1.0
// What transactions are put together from: claims, alternatives, waiting, hooks, bodies in bodies.

#include <interlock/transaction.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::atomically;
using interlock::transaction;
using interlock::versioned;

namespace {

// A commit by somebody else in the middle of a body, from a thread of its own.
template <class F>
void meanwhile(F f) {
  std::thread(f).join();
}

struct no_money : std::runtime_error {
  no_money() : std::runtime_error("no money") {}
};

// Takes one from a queue, or waits until there is one.
int take(transaction& t, versioned<std::vector<int>>& queue) {
  auto items = t.read(queue);
  if (items.empty()) t.retry();
  const int first = items.front();
  items.erase(items.begin());
  t.write(queue, std::move(items));
  return first;
}

}  // namespace

TEST_CASE("A cell under update_locked is not committed to by anybody else until the end") {
  versioned<int> cell(1);
  versioned<std::string> text("a");
  versioned<int> other(0);
  int runs = 0;
  atomically([&](transaction& t) {
    ++runs;
    t.update_locked(cell, [&](int n) {
      meanwhile([&] {
        CHECK(cell.load().value == 1);  // readers go on
        CHECK(cell.version() == 0);
        CHECK_FALSE(atomically([&](transaction& u) { u.write(cell, 7); }, 3));
        CHECK_FALSE(atomically([&](transaction& u) { u.update(cell, [](int& m) { ++m; }); }, 3));
        CHECK_FALSE(atomically(
            [&](transaction& u) { u.update_locked(cell, [](int& m) { ++m; }); }, 3));
        // Nor may what was only read be taken for settled by a commit elsewhere.
        CHECK_FALSE(atomically([&](transaction& u) { u.write(other, u.read(cell)); }, 3));
        CHECK(atomically([&](transaction& u) { return u.read(cell); }, 1) == 1);
      });
      return n + 1;
    });
    t.update(text, [](std::string& s) { s += "b"; });
    t.update(cell, [](int n) { return n * 10; });
    CHECK(t.read(cell) == 20);
    t.update_locked(cell, [](int n) { return n + 1; });
    CHECK(text.load().value == "a");
  });
  CHECK(runs == 1);
  CHECK(cell.load().value == 21);
  CHECK(cell.version() == 1);
  CHECK(text.load().value == "ab");
  CHECK(other.version() == 0);

  // What was written or read before can be claimed too, unless it has moved on.
  runs = 0;
  atomically([&](transaction& t) {
    t.write(other, 5);
    t.update_locked(other, [](int& n) { ++n; });
    const int seen = t.read(cell);
    if (++runs == 1) meanwhile([&] { cell.store(100); });
    t.update_locked(cell, [](int& n) { ++n; });
    CHECK(seen == 100);
  });
  CHECK(runs == 2);
  CHECK(cell.load().value == 101);
  CHECK(other.load().value == 6);

  // After a draft, f is given the draft.
  runs = 0;
  versioned<int> drafted(1);
  atomically([&](transaction& t) {
    t.update(drafted, [](int n) { return n + 1; });
    if (++runs == 1) meanwhile([&] { drafted.store(5); });
    t.update_locked(drafted, [](int n) { return n * 10; });
  });
  CHECK(runs == 2);
  CHECK(drafted.load().value == 60);

  // A plain writer waits for the end; an exception or a lost attempt ends it as well.
  std::atomic<bool> stored = false;
  std::thread writer;
  CHECK_THROWS_AS(atomically([&](transaction& t) {
                    t.update_locked(cell, [&](int& n) {
                      writer = std::thread([&] {
                        cell.store(200);
                        stored = true;
                      });
                      for (int i = 0; i < 100; ++i) std::this_thread::yield();
                      CHECK_FALSE(stored);
                      n = 0;
                      throw no_money();
                    });
                  }),
                  no_money);
  writer.join();
  CHECK(cell.load().value == 200);
  CHECK(cell.version() == 4);
}

TEST_CASE("two transactions that claim each other's cell both end") {
  versioned<std::uint64_t> a;
  versioned<std::uint64_t> b;
  const std::size_t each = support::rounds(20'000);
  support::run_threads(4, [&](std::size_t me) {
    for (std::size_t i = 0; i < each; ++i) {
      auto& first = me % 2 == 0 ? a : b;
      auto& second = me % 2 == 0 ? b : a;
      atomically([&](transaction& t) {
        t.update_locked(first, [&](std::uint64_t n) {
          if (i % 64 == 0) std::this_thread::yield();
          return n + 1;
        });
        if (me < 2) {
          t.update_locked(second, [](std::uint64_t n) { return n + 1; });
        } else {
          t.update(second, [](std::uint64_t n) { return n + 1; });
        }
      });
    }
  });
  CHECK(a.load().value == 4 * each);
  CHECK(b.load().value == 4 * each);
  CHECK(a.version() == 4 * each);
}

TEST_CASE("A retry blocks until a cell that was read has changed and misses no change") {
  // Two bounded buffers: one wake-up missed and somebody waits for ever.
  struct buffer {
    versioned<int> filled{0};
    versioned<std::array<std::uint64_t, 2>> items;
    void put(std::uint64_t item) {
      atomically([&](transaction& t) {
        const int n = t.read(filled);
        if (n == 2) t.retry();
        t.update(items, [&](auto& all) { all[static_cast<std::size_t>(n)] = item; });
        t.write(filled, n + 1);
      });
    }
    std::uint64_t get() {
      return atomically([&](transaction& t) {
        const int n = t.read(filled);
        if (n == 0) t.retry();
        const std::uint64_t item = t.read(items)[0];
        t.update(items, [](auto& all) { all[0] = all[1]; });
        t.write(filled, n - 1);
        return item;
      });
    }
  };
  buffer there;
  buffer back;
  const std::uint64_t rounds = support::rounds(20'000);
  std::atomic<std::uint64_t> sum = 0;
  support::run_threads(4, [&](std::size_t me) {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (me < 2) {
        there.put(i);
        sum += back.get();
      } else {
        back.put(there.get());
      }
    }
  });
  CHECK(sum == rounds * (rounds - 1));
  CHECK(there.filled.load().value == 0);

  // A change between the read and the wait is none to wait for.
  versioned<int> gate(0);
  int runs = 0;
  atomically([&](transaction& t) {
    ++runs;
    if (t.read(gate) == 1) return;
    meanwhile([&] { gate.store(1); });
    t.retry();
  });
  CHECK(runs == 2);

  // Any of many cells ends the wait, by a plain commit as well.
  std::deque<versioned<int>> many(40);
  std::atomic<int> looks = 0;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 1) {
      while (looks == 0) std::this_thread::yield();
      many[37].store(1);
      return;
    }
    atomically([&](transaction& t) {
      int found = 0;
      for (auto& cell : many) found += t.read(cell);
      ++looks;
      if (found == 0) t.retry();
    });
  });
  CHECK(looks == 2);
}

TEST_CASE("a retry publishes nothing and gives its claims back before it waits") {
  versioned<int> gate(0);
  versioned<int> copy(0);
  std::atomic<int> runs = 0;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      atomically([&](transaction& t) {
        t.write(copy, 5);
        ++runs;
        t.update_locked(gate, [&](int& n) {
          if (n == 0) t.retry();
          n = 2;
        });
      });
    } else {
      while (runs == 0) std::this_thread::yield();
      gate.store(1);  // would wait for ever for a claim
    }
  });
  CHECK(gate.load().value == 2);
  CHECK(copy.load().value == 5);
  CHECK(copy.version() == 1);
}

TEST_CASE("a retry without a read is refused") {
  versioned<int> cell(0);
  const auto nothing_read = [&](transaction& t) {
    t.write(cell, 1);
    t.retry();
  };
  try {
    atomically(nothing_read);
    FAIL("not refused");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::resource_deadlock_would_occur);
    CHECK(std::string(error.what()).find("nothing was read") != std::string::npos);
  }
  CHECK(cell.version() == 0);
  CHECK_FALSE(atomically(nothing_read, 1));
  CHECK(atomically([&](transaction& t) {
          return t.or_else([](transaction& u) -> int { u.retry(); },
                           [](transaction&) { return 3; });
        }) == 3);
}

TEST_CASE("a body that swallows its retry waits all the same") {
  versioned<int> gate(0);
  versioned<int> copy(0);
  int swallowed = 0;
  atomically([&](transaction& t) {
    if (t.read(gate) == 0) {
      gate.store(1);
      try {
        t.retry();
      } catch (...) {
        ++swallowed;
      }
      try {
        (void)t.read(copy);
      } catch (...) {
        ++swallowed;
      }
    }
    t.write(copy, swallowed);
  });
  CHECK(swallowed == 2);
  CHECK(copy.load().value == 2);
  CHECK(copy.version() == 1);
}

TEST_CASE("an alternative does not undo a retry that was swallowed before it") {
  versioned<int> gate(0);
  versioned<int> copy(0);
  const auto swallows = [&](transaction& t) {
    (void)t.read(gate);
    CHECK_THROWS(t.retry());
    t.or_else([&](transaction& u) { (void)u.read(gate); },
              [&](transaction& u) { u.write(copy, 5); });
  };
  CHECK_FALSE(atomically(swallows, 1));
  CHECK(copy.load().value == 0);
}

TEST_CASE("An alternative that retries or throws leaves no writes behind") {
  versioned<int> a(1);
  versioned<std::string> b("b");
  versioned<int> c(0);
  versioned<std::vector<int>> empty;
  versioned<std::vector<int>> full(std::vector<int>{4});
  int hooks = 0;
  const int got = atomically([&](transaction& t) {
    t.write(a, 2);
    t.update(b, [](std::string& s) { s += "1"; });
    return t.or_else(
        [&](transaction& u) {
          u.write(a, 3);
          u.update(b, [](std::string& s) { s += "2"; });
          u.update(b, [](std::string& s) { s += "3"; });
          u.update_locked(a, [](int& n) { ++n; });
          u.update_locked(c, [](int& n) { ++n; });
          u.on_commit([&]() noexcept { hooks += 100; });
          CHECK(u.read(a) == 4);
          CHECK(u.read(b) == "b123");
          return take(u, empty);
        },
        [&](transaction& u) {
          CHECK(u.read(a) == 2);
          CHECK(u.read(b) == "b1");
          CHECK(u.read(c) == 0);
          u.update(b, [](std::string& s) { s += "4"; });
          u.on_commit([&]() noexcept { ++hooks; });
          return take(u, full);
        });
  });
  CHECK(got == 4);
  CHECK(a.load().value == 2);
  CHECK(b.load().value == "b14");
  CHECK(c.version() == 0);
  CHECK(hooks == 1);

  // One in another, each level undone by itself.
  atomically([&](transaction& t) {
    t.write(a, 10);
    t.or_else(
        [&](transaction& u) {
          u.or_else(
              [&](transaction& v) {
                v.write(a, 11);
                v.write(c, 11);
                v.update(b, [](std::string& s) { s += "x"; });
              },
              [](transaction&) {});
          CHECK(u.read(a) == 11);
          u.or_else(
              [&](transaction& v) {
                v.write(a, 12);
                v.write(c, 12);
                v.retry();
              },
              [](transaction&) {});
          CHECK(u.read(a) == 11);
          CHECK(u.read(c) == 11);
          u.retry();
        },
        [&](transaction& u) {
          CHECK(u.read(a) == 10);
          CHECK(u.read(c) == 0);
          CHECK(u.read(b) == "b14");
        });
  });
  CHECK(a.load().value == 10);
  CHECK(c.version() == 0);

  // By an exception as well, and the body may go on.
  atomically([&](transaction& t) {
    t.write(a, 20);
    try {
      t.or_else(
          [&](transaction& u) {
            u.write(a, 21);
            throw no_money();
          },
          [](transaction&) {});
    } catch (const no_money&) {
      CHECK(t.read(a) == 20);
    }
  });
  CHECK(a.load().value == 20);
}

TEST_CASE("an alternative that claimed a written cell leaves its draft whole") {
  using wide = std::array<int, 64>;
  std::array<versioned<wide>, 5> cells;  // more than have room in the transaction
  versioned<wide>& last = cells[4];
  atomically([&](transaction& t) {
    for (auto& cell : cells) t.write(cell, wide{2});
    t.or_else(
        [&](transaction& u) {
          CHECK_THROWS_AS(u.update_locked(last, [](wide&) { throw no_money(); }), no_money);
          atomically([&](transaction& v) { v.write(last, wide{3}); });
          u.retry();
        },
        [&](transaction& u) { CHECK(u.read(last)[0] == 2); });
  });
  CHECK(last.load().value[0] == 2);
}

TEST_CASE("if both alternatives retry either's cells end the wait") {
  for (int which = 0; which < 2; ++which) {
    std::array<versioned<std::vector<int>>, 2> queues;
    std::atomic<int> looks = 0;
    int got = 0;
    support::run_threads(2, [&](std::size_t me) {
      if (me == 0) {
        got = atomically([&](transaction& t) {
          ++looks;
          return t.or_else([&](transaction& u) { return take(u, queues[0]); },
                           [&](transaction& u) { return take(u, queues[1]); });
        });
      } else {
        while (looks == 0) std::this_thread::yield();
        queues[static_cast<std::size_t>(which)].store({5 + which});
      }
    });
    CHECK(got == 5 + which);
  }
}

TEST_CASE("A hook runs once after the commit and never without it") {
  versioned<int> cell(0);
  versioned<int> log(0);
  std::string order;
  int runs = 0;
  atomically([&](transaction& t) {
    const int seen = t.read(cell);
    t.on_commit([&]() noexcept {
      order += "1";
      order += std::to_string(cell.load().value);
      // Outside of all locks: it may be a transaction on the same cells.
      atomically([&](transaction& u) { u.update(log, [](int& n) { ++n; }); });
      cell.update([](int n) { return n + 1; });
    });
    t.on_commit([&order, some = std::make_unique<int>(2)]() noexcept {
      order += std::to_string(*some);
    });
    std::array<char, 2000> large{};
    large[1999] = '3';
    t.on_commit([&order, large]() noexcept { order += large[1999]; });
    for (int i = 0; i < 6; ++i) t.on_commit([&order]() noexcept { order += "."; });
    if (++runs == 1) meanwhile([&] { cell.store(5); });
    t.write(cell, seen + 1);
  });
  CHECK(runs == 2);
  CHECK(order == "1623......");
  CHECK(cell.load().value == 7);
  CHECK(log.load().value == 1);

  order.clear();
  CHECK_THROWS_AS(atomically([&](transaction& t) {
                    t.on_commit([&]() noexcept { order += "never"; });
                    throw no_money();
                  }),
                  no_money);
  CHECK_FALSE(atomically(
      [&](transaction& t) {
        t.on_commit([&]() noexcept { order += "never"; });
        (void)t.read(cell);
        t.retry();
      },
      1));
  CHECK(order.empty());
}

TEST_CASE("a hook finds no claim of a cell that was not written after all") {
  versioned<int> cell(0);
  versioned<int> other(0);
  bool written = false;
  for (const bool alone : {true, false}) {
    atomically([&](transaction& t) {
      t.on_commit([&]() noexcept {
        const auto raise = [&](transaction& u) { u.update_locked(cell, [](int& n) { ++n; }); };
        written = bool(atomically(raise, 2));
      });
      if (!alone) t.write(other, 1);
      CHECK_THROWS_AS(t.update_locked(cell, [](int&) { throw no_money(); }), no_money);
    });
    CHECK(std::exchange(written, false));
  }
  CHECK(cell.load().value == 2);
}

TEST_CASE("a body inside another takes effect with it") {
  versioned<int> a(10);
  versioned<int> b(0);
  const auto transfer = [&](int amount) {
    atomically([&](transaction& t) {
      t.update(b, [&](int& money) { money += amount; });
      if (t.read(a) < amount) throw no_money();
      t.update(a, [&](int& money) { money -= amount; });
    });
  };
  int refused = 0;
  atomically([&](transaction& t) {
    transfer(3);
    try {
      transfer(100);
    } catch (const no_money&) {
      ++refused;
      CHECK(t.read(b) == 3);  // what the inner body wrote is undone
    }
    transfer(4);
    CHECK(a.load().value == 10);  // and nothing is to be seen yet
  });
  CHECK(refused == 1);
  CHECK(a.load().value == 3);
  CHECK(b.load().value == 7);
  CHECK(a.version() == 1);

  CHECK_THROWS_AS(atomically([&](transaction&) {
                    transfer(3);
                    throw no_money();
                  }),
                  no_money);
  CHECK(a.version() == 1);

  // A limit on an inner call says only whether it is made at all.
  atomically([&](transaction& t) {
    const auto none = atomically([](transaction&) { return 1; }, 0);
    CHECK_FALSE(none.has_value());
    CHECK(none.contended() == nullptr);
    const auto one = atomically([&](transaction& inner) { return inner.read(a); }, 1);
    CHECK(one == 3);
    CHECK(atomically([&](transaction& inner) { inner.write(a, 4); }, 1));
    CHECK(t.read(a) == 4);
  });
  CHECK(a.load().value == 4);

  // An inner conflict is the outer one's: that body is run again.
  int runs = 0;
  const auto lost = atomically(
      [&](transaction& t) {
        ++runs;
        (void)t.read(a);
        meanwhile([&] { a.update([](int n) { return n + 1; }); });
        (void)atomically([&](transaction& inner) { return inner.read(b); }, 10);
      },
      2);
  CHECK(runs == 2);
  CHECK(lost.contended() == &a);
}

TEST_CASE("A transaction that gives up names the cell that it lost to") {
  versioned<int> quiet(0);
  versioned<int> number(0);
  versioned<std::string> text("");
  versioned<std::array<int, 40>> large;
  const auto lost_to = [&](auto& cell, auto change) {
    // Noticed by the next read, by the commit of what was read, and by that of what was written.
    const auto next_read = atomically(
        [&](transaction& t) {
          (void)t.read(cell);
          meanwhile(change);
          return t.read(quiet);
        },
        2);
    CHECK_FALSE(next_read);
    CHECK(next_read.contended() == &cell);
    const auto read = atomically(
        [&](transaction& t) {
          (void)t.read(cell);
          t.write(quiet, 1);
          meanwhile(change);
        },
        2);
    CHECK_FALSE(read);
    CHECK(read.contended() == &cell);
    const auto written = atomically(
        [&](transaction& t) {
          t.write(quiet, 1);
          t.update(cell, [](auto&) {});
          meanwhile(change);
        },
        20);
    CHECK_FALSE(written);
    CHECK(written.contended() == &cell);
  };
  lost_to(number, [&] { number.store(1); });
  lost_to(text, [&] { text.store("1"); });
  lost_to(large, [&] { large.update([](auto& a) { ++a[0]; }); });
  CHECK(quiet.version() == 0);

  // A claim, too; a retry is not lost.
  atomically([&](transaction& t) {
    t.update_locked(number, [&](int&) {
      meanwhile([&] {
        const auto other = atomically([&](transaction& u) { u.update(number, [](int&) {}); }, 1);
        CHECK(other.contended() == &number);
      });
    });
  });
  const auto waits = atomically(
      [&](transaction& t) {
        (void)t.read(number);
        t.retry();
      },
      1);
  CHECK_FALSE(waits);
  CHECK(waits.contended() == nullptr);
  const auto done = atomically([&](transaction& t) { return t.read(quiet); }, 5);
  CHECK(done == 0);
  CHECK(done.contended() == nullptr);
}

TEST_CASE("up to 16 cells need no allocation") {
  if (!support::counts_allocations) return;
  std::array<versioned<std::uint64_t>, 16> cells;
  versioned<std::array<char, 64>> wide;
  const auto work = [&] {
    atomically([&](transaction& t) {
      for (std::size_t i = 0; i < 15; ++i) {
        if (i % 3 == 0) {
          t.update_locked(cells[i], [](std::uint64_t n) { return n + 1; });
        } else if (i % 3 == 1) {
          t.update(cells[i], [](std::uint64_t n) { return n + 1; });
        } else {
          (void)t.read(cells[i]);
        }
      }
      t.or_else([&](transaction& u) { u.update(wide, [](auto& w) { ++w[0]; }); },
                [](transaction&) {});
      t.on_commit([&]() noexcept {});
    });
  };
  work();
  const std::size_t before = support::allocations();
  work();
  CHECK(support::allocations() == before);
}

TEST_CASE("a body may run out of memory and go on") {
  // The record of a write without a draft is none; what is read of the cell counts.
  struct fails_to_copy {
    explicit fails_to_copy(int n) : number(n) {}
    fails_to_copy(const fails_to_copy& other) : number(other.number) {
      if (number < 0) throw std::bad_alloc();
    }
    fails_to_copy& operator=(const fails_to_copy&) = delete;
    int number;
  };
  versioned<fails_to_copy> cell(fails_to_copy(1));
  versioned<int> sum(0);
  int runs = 0;
  atomically([&](transaction& t) {
    const fails_to_copy bad(-1);
    const auto set = [&](fails_to_copy& n) { n.number = -1; };
    try {
      t.update(cell, [&](const fails_to_copy&) { return fails_to_copy(bad); });
    } catch (const std::bad_alloc&) {
    }
    (void)set;
    const int seen = t.read(cell).number;
    if (++runs == 1) meanwhile([&] { cell.store(fails_to_copy(5)); });
    t.write(sum, seen);
  });
  CHECK(runs == 2);
  CHECK(sum.load().value == 5);
}
