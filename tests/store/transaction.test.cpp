// SPDX-License-Identifier: BSL-1.0
// The optimistic transaction over an engine's cells: what it adds to the protocol.

#include <interlock/memory/transaction.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
namespace store = interlock::store;
namespace memory = interlock::memory;
using memory::atomically;
using memory::transaction;
using store::errc;
template <class T>
using versioned = memory::versioned<T>;

constexpr store::transaction_options patient{.attempts = 1'000'000, .timeout = 60s};

}  // namespace

TEST_CASE("A transaction of a store takes effect as a whole or not at all") {
  memory::client engine;
  const std::vector<versioned<int>> accounts = {{engine, "a"}, {engine, "b"}, {engine, "c"}};
  for (const auto& each : accounts) each.store(1000).value();
  std::atomic<int> wrong{0};
  std::atomic<int> failed{0};
  const std::size_t moves = support::rounds(200);
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < moves; ++i) {
      const auto& from = accounts[(id + i) % 3];
      const auto& to = accounts[(id + i + 1) % 3];
      if (id == 0) {  // looks
        const auto sum = atomically(
            engine,
            [&](transaction& t) {
              int all = 0;
              for (const auto& each : accounts) all += t.read(each).value();
              return all;
            },
            patient);
        wrong += sum.value_or(3000) != 3000;
        continue;
      }
      const auto moved = atomically(
          engine,
          [&](transaction& t) {
            t.update(from, [](int& money) { --money; });
            t.update(to, [](int& money) { ++money; });
          },
          patient);
      failed += !moved.applied();
    }
  });
  CHECK(wrong == 0);
  CHECK(failed == 0);
  int sum = 0;
  for (const auto& each : accounts) sum += *each.load()->value;
  CHECK(sum == 3000);
}

TEST_CASE("The body of a store's transaction never sees two moments at once") {
  memory::client engine;
  const versioned<int> x(engine, "x");
  const versioned<int> y(engine, "y");
  x.store(1).value();
  y.store(1).value();
  int runs = 0;
  std::vector<std::pair<int, int>> seen;
  const auto meddle = [&] {  // between the two reads, in the first run
    x.store(2).value();
    y.store(2).value();
  };
  const auto sum = atomically(engine, [&](transaction& t) {
    const int a = t.read(x).value();
    if (++runs == 1) meddle();
    const int b = t.read(y).value();  // leaves the body in the first run
    seen.emplace_back(a, b);
    return a + b;
  });
  CHECK(sum.value() == 4);
  CHECK(runs == 2);
  CHECK(seen == std::vector<std::pair<int, int>>{{2, 2}});
  // plain loads see both moments
  const int a = *x.load()->value;
  x.store(3).value();
  y.store(3).value();
  CHECK(a + *y.load()->value == 5);
}

TEST_CASE("A body that swallows the end of its attempt reads nothing more in it") {
  memory::client engine;
  const versioned<int> a(engine, "a");
  const versioned<int> b(engine, "b");
  const versioned<int> c(engine, "c");
  a.store(1).value();
  c.store(1).value();
  int runs = 0;
  int answered = 0;
  const auto seen = atomically(engine, [&](transaction& t) {
    t.prefetch(c, a);
    const int first = t.read(a).value();
    if (++runs == 1) {
      a.store(2).value();
      c.store(2).value();
      try {
        (void)t.read(b);
        ++answered;
      } catch (...) {
      }
      try {
        t.prefetch(c);
        ++answered;
      } catch (...) {
      }
    }
    const int last = t.read(c).value();  // leaves the body in the first run
    if (runs == 1) ++answered;
    return first + last;
  });
  CHECK(answered == 0);
  CHECK(runs == 2);
  CHECK(seen.value() == 4);
}

TEST_CASE("A transaction whose reads have changed runs again or is refused") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  const versioned<int> copy(engine, "copy");
  int runs = 0;
  const auto body = [&](transaction& t) {
    const int seen = t.read(cell).value_or(0);
    if (++runs <= 2) cell.store(runs * 10).value();  // somebody else, behind the read
    t.write(copy, seen + 1);
    return seen;
  };
  CHECK(atomically(engine, body).value() == 20);
  CHECK(runs == 3);
  CHECK(copy.load()->value == 21);
  runs = 0;
  const auto lost = atomically(engine, body, {.attempts = 2});
  REQUIRE(lost.refused());
  CHECK(lost.error().code == errc::too_many_conflicts);
  CHECK(lost.error().operation == "transaction.commit");
  CHECK(copy.load()->value == 21);
  // a cell that was only written is in nobody's way
  runs = 0;
  const auto blind = atomically(engine, [&](transaction& t) {
    ++runs;
    cell.store(7).value();
    t.write(cell, 8);
  });
  CHECK(blind.applied());
  CHECK(runs == 1);
  CHECK(cell.load()->value == 8);
}

TEST_CASE("Reads behind writes see what was written and nobody else does") {
  memory::client engine;
  const versioned<std::string> page(engine, "page");
  page.store("a").value();
  const auto done = atomically(engine, [&](transaction& t) {
    t.write(page, "b");
    const bool own = t.read(page) == "b" && page.load()->value == "a";
    t.erase(page);
    const bool none = !t.read(page) && page.load()->value == "a";
    t.update(page, [](std::string& s) { s += "c"; });
    return own && none && t.read(page) == "c";
  });
  CHECK(done.value());
  CHECK(page.load()->value == "c");
  CHECK(atomically(engine, [&](transaction& t) {
          t.update(page,
                   [](const std::optional<std::string>&) { return std::optional<std::string>(); });
        }).applied());
  CHECK_FALSE(page.load()->value);
}

TEST_CASE("An exception that leaves the body sends nothing") {
  memory::client engine;
  const versioned<int> a(engine, "a");
  a.store(1).value();
  const auto spend = [&](transaction& t) {
    t.write(a, 0);
    throw std::runtime_error("not enough");
  };
  CHECK_THROWS_AS(atomically(engine, spend), std::runtime_error);
  CHECK(a.load()->value == 1);
}

TEST_CASE("A body that swallows its loss is run again all the same") {
  memory::client engine;
  const versioned<int> x(engine, "x");
  const versioned<int> y(engine, "y");
  int runs = 0;
  const auto done = atomically(engine, [&](transaction& t) {
    try {
      const int a = t.read(x).value_or(0);
      if (++runs == 1) x.store(5).value();
      return a + t.read(y).value_or(0);
    } catch (...) {
      t.write(y, 100);
      return -1;
    }
  });
  CHECK(done.value() == 5);
  CHECK(runs == 2);
  CHECK_FALSE(y.load()->value);
}

TEST_CASE("Cells that are prefetched cost one request and those of the last attempt too") {
  memory::client engine;
  const versioned<int> a(engine, "a");
  const versioned<int> b(engine, "b");
  const versioned<int> c(engine, "c");
  const std::uint64_t before = engine.requests();
  int runs = 0;
  const auto sum = atomically(engine, [&](transaction& t) {
    ++runs;
    t.prefetch(a, b, c);
    const int all = t.read(a).value_or(0) + t.read(b).value_or(0) + t.read(c).value_or(0);
    t.write(a, all);
    return all;
  });
  CHECK(sum.applied());
  CHECK(engine.requests() - before == 2);
  CHECK(runs == 1);
  const std::uint64_t then = engine.requests();
  CHECK(atomically(engine, [&](transaction& t) { return t.read(a).value_or(0); }).applied());
  CHECK(engine.requests() - then == 1);  // only reads: no commit
}

TEST_CASE("What goes wrong inside a transaction of a store is its outcome") {
  memory::client engine;
  const versioned<int> number(engine, "cell");
  versioned<std::string>(engine, "cell").store("seven").value();
  const auto bad = atomically(engine, [&](transaction& t) { return t.read(number).value_or(0); });
  REQUIRE(bad.refused());
  CHECK(bad.error().code == errc::bad_value);
  CHECK(bad.error().object == "cell");
  const auto late =
      atomically(engine,
                 [&](transaction& t) {
                   t.write(number, 1);
                   store::detail::pause_until(std::chrono::steady_clock::now() + 30ms);
                 },
                 {.timeout = 10ms});
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::timed_out);
  engine.inject(memory::faults([](const memory::request& r) {
    return r.done ? memory::fault::none() : memory::fault::refuse(errc::read_only);
  }));
  const auto off = atomically(engine, [&](transaction& t) { t.write(number, 1); });
  CHECK(off.error().code == errc::read_only);
}

TEST_CASE("A transaction that is repeated under its id is made once") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  const versioned<int> odd(engine, "odd");
  const versioned<int> even(engine, "even");
  const store::operation_id id = store::operation_id::fresh();
  // The body writes another cell first when it runs again.
  const auto body = [&](transaction& t) {
    const int now = t.read(cell).value_or(0);
    t.write(now % 2 == 0 ? even : odd, now);
    t.write(cell, now + 1);
  };
  engine.inject(memory::faults([](const memory::request& r) {
    return r.done && r.writes ? memory::fault::lose_reply() : memory::fault::none();
  }));
  const auto unsure = atomically(engine, body, {.id = id});
  REQUIRE(unsure.unknown());
  CHECK(unsure.id() == id);
  engine.inject({});
  CHECK(atomically(engine, body, {.id = id}).applied());
  CHECK(cell.load()->value == 1);
  CHECK_FALSE(odd.load()->value);
  // without an id it is made twice
  CHECK(atomically(engine, body).applied());
  CHECK(cell.load()->value == 2);
}

TEST_CASE("An awaited transaction of a store runs its body on a thread of the client") {
  memory::client engine;
  const versioned<int> cell(engine, "cell");
  const auto work = [&]() -> interlock::task<int> {
    const auto done = co_await memory::async_atomically(engine, [cell](transaction& t) {
      t.update(cell, [](int& n) { n += 4; });
      return t.read(cell).value();
    });
    co_return done.value();
  };
  CHECK(interlock::sync_wait(work()) == 4);
  static_assert(std::is_same_v<decltype(atomically(engine, [](transaction&) {})),
                               store::outcome<store::nothing>>);
}

TEST_CASE("The time of an awaited transaction of a store runs while it waits for a thread") {
  memory::client engine(store::client_options{.threads = 1});
  const versioned<int> cell(engine, "cell");
  std::atomic<bool> asked{false};
  const auto slow = [&]() -> interlock::task<bool> {
    const auto done = co_await memory::async_atomically(engine, [&](transaction&) {
      static_cast<void>(support::eventually([&] { return asked.load(); }));
      std::this_thread::sleep_for(20ms);  // longer than the other one has
    });
    co_return done.applied();
  };
  const auto quick = [&]() -> interlock::task<bool> {
    const auto write = [cell](transaction& t) { t.write(cell, 1); };
    const auto late = co_await memory::async_atomically(engine, write, {.timeout = 5ms});
    co_return late.refused() && late.error().code == errc::timed_out;
  };
  const auto last = [&]() -> interlock::task<bool> { co_return !asked.exchange(true); };
  const auto [first, second, third] =
      interlock::sync_wait(interlock::when_all(slow(), quick(), last()));
  CHECK((first && third));
  CHECK(second);
  CHECK_FALSE(cell.load()->value);
}
