// SPDX-License-Identifier: BSL-1.0
// Transactions of PostgreSQL: whole or not at all, again when others were in the way, once by an
// id.

#include <interlock/postgres/serial_queue.hpp>
#include <interlock/postgres/transaction.hpp>

#include "server.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using postgres::atomically;
using postgres::transaction;

namespace {

// The schema and table that a statement is about, quoted.
std::string table_of(const postgres::client& c, const char* table) {
  return '"' + c.options().prefix + "\"." + table;
}

}  // namespace

TEST_CASE("A transaction of PostgreSQL takes effect as a whole or not at all") {
  auto c = fresh_client();
  const postgres::versioned<int> from(c, "from"), to(c, "to");
  const postgres::counter moves(c, "moves");
  const postgres::bounded_counter stock(c, "stock", {.value = 3, .low = 0, .high = 10});
  const std::string ledger = table_of(c, "ledger");
  REQUIRE(from.store(100).applied());
  REQUIRE(atomically(c, [&](transaction& t) {
            t.execute("create table " + ledger + " (amount int, note text, raw bytea, yes bool)");
          }).applied());
  const auto left = atomically(c, [&](transaction& t) {
    t.prefetch(from, to);
    const int money = t.read(from).value();
    CHECK(!t.read(to));
    t.write(from, money - 30);
    t.update(to, [](int& there) { there += 30; });
    CHECK(t.read(to) == 30);
    CHECK(t.add(moves, 1) == 1);
    CHECK(t.add(stock, -2) == 1);
    CHECK(!t.add(stock, -2));
    const std::byte raw[] = {std::byte{0}, std::byte{255}};
    const auto done = t.execute("insert into " + ledger + " values ($1, $2, $3, $4)", 30, "a'b",
                                std::span<const std::byte>(raw), std::optional<bool>());
    CHECK(done.changed() == 1);
    const auto rows = t.execute("select amount, note, raw, yes, amount > $1 from " + ledger, 7);
    REQUIRE(rows.size() == 1);
    CHECK(rows.get<int>(0) == 30);
    CHECK(rows.get<std::string>(0, 1) == "a'b");
    CHECK(rows.get<std::string>(0, 2) == std::string("\0\xff", 2));
    CHECK(!rows.at(0, 3));
    CHECK(rows.get<bool>(0, 4) == true);
    return money - 30;
  });
  CHECK(left.value() == 70);
  CHECK(from.load()->value == 70);
  CHECK(to.load()->value == 30);
  CHECK(moves.load().value() == 1);
  CHECK(stock.load().value() == 1);
  person other;
  CHECK(other.say("select count(*) from " + ledger) == "1");

  // One statement that fails, and nothing is done.
  const auto failed = atomically(c, [&](transaction& t) {
    t.write(from, 0);
    t.add(moves, 1);
    t.execute("insert into nowhere values (1)");
  });
  REQUIRE(failed.refused());
  CHECK(failed.error().detail.find("nowhere") != std::string::npos);
  const auto over = atomically(c, [&](transaction& t) {
    t.add(moves, 1);
    t.add(moves, INT64_MAX);
  });
  CHECK(over.error().code == errc::bad_argument);
  const auto bad = atomically(c, [&](transaction& t) {
    t.add(moves, 1);
    return t.read(postgres::versioned<bool>(c, "from")).has_value();
  });
  CHECK(bad.error().code == errc::bad_value);
  auto stranger = fresh_client();
  const postgres::counter elsewhere(stranger, "moves");
  CHECK(atomically(c, [&](transaction& t) { t.add(elsewhere, 1); }).error().code ==
        errc::bad_argument);
  CHECK(from.load()->value == 70);
  CHECK(moves.load().value() == 1);
}

TEST_CASE("A body that met others in PostgreSQL runs again as a whole") {
  auto c = fresh_client({.timeout = 30s});
  const postgres::versioned<int> a(c, "a"), b(c, "b");
  REQUIRE(a.store(50).applied());
  REQUIRE(b.store(50).applied());
  // Each may take from one if both together stay above zero: write skew, if they do not exclude.
  const auto take = [&](const postgres::versioned<int>& mine) {
    return atomically(c,
                      [&](transaction& t) {
                        const int sum = t.read(a).value() + t.read(b).value();
                        if (sum < 60) return false;
                        t.write(mine, t.read(mine).value() - 60);
                        return true;
                      })
        .value();
  };
  std::vector<int> sums;
  for (int round = 0; round < 20; ++round) {
    REQUIRE(a.store(50).applied());
    REQUIRE(b.store(50).applied());
    std::thread other([&] { (void)take(a); });
    (void)take(b);
    other.join();
    sums.push_back(a.load()->value.value() + b.load()->value.value());
  }
  CHECK(std::count(sums.begin(), sums.end(), 40) == 20);

  // Read, change, write by four at once: nothing is lost, and bodies did run again.
  const postgres::versioned<int> sum(c, "sum");
  REQUIRE(sum.store(0).applied());
  std::atomic<int> runs{0}, failures{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 25; ++n) {
        const auto done = atomically(c,
                                     [&](transaction& t) {
                                       // order: relaxed: counted, read after the threads ended
                                       runs.fetch_add(1, std::memory_order_relaxed);
                                       t.update(sum, [](int& v) { ++v; });
                                     },
                                     {.attempts = 10'000});
        // order: relaxed: the same
        if (!done.applied()) failures.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (auto& each : threads) each.join();
  CHECK(failures == 0);
  CHECK(sum.load()->value == 100);
  CHECK(runs > 100);

  // The control, READ COMMITTED by hand: both spend it.
  REQUIRE(a.store(50).applied());
  person one, two;
  const std::string value =
      "select convert_from(bytes, 'UTF8')::int from " + table_of(c, "cell") + " where name = 'a'";
  one.say("begin");
  two.say("begin");
  CHECK(one.say(value) == "50");
  CHECK(two.say(value) == "50");
  one.say("update " + table_of(c, "cell") + " set bytes = '10' where name = 'a'");
  one.say("commit");
  two.say("update " + table_of(c, "cell") + " set bytes = '10' where name = 'a'");
  two.say("commit");
  CHECK(a.load()->value == 10);  // 80 were taken out of 50

  // Attempts end.
  const auto never = atomically(c,
                                [&](transaction& t) {
                                  (void)t.read(sum);
                                  REQUIRE(sum.store(7).applied());  // somebody else, each time
                                  t.write(sum, 1);
                                },
                                {.attempts = 3});
  CHECK(never.error().code == errc::too_many_conflicts);
  CHECK(sum.load()->value == 7);

  // A row that is there though the read did not see it: again, then found.
  const std::string names = table_of(c, "names");
  one.say("create table " + names + " (name text primary key)");
  int bodies = 0;
  const auto unique = atomically(c, [&](transaction& t) {
    ++bodies;
    if (t.execute("select 1 from " + names + " where name = $1", "x").size() != 0) return false;
    if (bodies == 1) two.say("insert into " + names + " values ('x')");
    t.execute("insert into " + names + " values ($1)", "x");
    return true;
  });
  CHECK(unique.value() == false);
  CHECK(bodies == 2);
}

TEST_CASE("An exception that leaves the body rolls back and goes on to the caller") {
  auto c = fresh_client({.connections = 1});
  const postgres::counter hits(c, "hits");
  CHECK_THROWS_AS((void)atomically(c,
                                   [&](transaction& t) {
                                     t.add(hits, 1);
                                     throw std::out_of_range("mine");
                                   }),
                  std::out_of_range);
  CHECK(hits.load().value() == 0);  // on the same connection
  // One that a body swallows is no success.
  const auto swallowed = atomically(c, [&](transaction& t) {
    t.add(hits, 1);
    try {
      t.execute("select 1/0");
    } catch (...) {
    }
    return 1;
  });
  CHECK(swallowed.refused());
  CHECK(hits.load().value() == 0);
  CHECK(atomically(c, [](transaction&) { return 5; }).value() == 5);
}

TEST_CASE("A commit to PostgreSQL that was not answered is unknown until its id is asked again") {
  throwaway_postgres mine({.fsync = false});
  postgres::client c(mine.conninfo(), {.prefix = "commit", .timeout = 10s});
  const postgres::counter hits(c, "hits");
  person other(mine.conninfo());
  // A deferred trigger: the server is busy with COMMIT for as long as somebody holds the lock.
  other.say("create table slow (n int)");
  other.say(
      "create function wait_here() returns trigger language plpgsql as $$ begin perform "
      "pg_advisory_xact_lock(7); return null; end $$");
  other.say(
      "create constraint trigger slowly after insert on slow deferrable initially deferred "
      "for each row execute function wait_here()");
  other.say("select pg_advisory_lock(7)");
  const auto id = operation_id::fresh();
  int bodies = 0;
  const auto pay = [&](std::chrono::milliseconds timeout) {
    return atomically(c,
                      [&](transaction& t) {
                        ++bodies;
                        t.execute("insert into slow values (1)");
                        return t.add(hits, 5);
                      },
                      {.timeout = timeout, .id = id});
  };
  const auto first = pay(300ms);
  REQUIRE(first.unknown());
  CHECK(first.id() == id);
  other.say("select pg_advisory_unlock(7)");
  CHECK(pay(10s).value() == 5);
  CHECK(pay(10s).value() == 5);
  CHECK(hits.load().value() == 5);
  const int so_far = bodies;
  CHECK(pay(10s).value() == 5);
  CHECK(bodies == so_far + 1);  // it ran for nothing at most, and was rolled back
  CHECK(hits.load().value() == 5);

  // Before COMMIT a lost connection did nothing: the body runs again on another one.
  int rounds = 0;
  const auto again = atomically(c, [&](transaction& t) {
    t.add(hits, 1);
    if (++rounds == 1) {
      other.say(
          "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in "
          "transaction'");
    }
    return t.add(hits, 1);
  });
  CHECK(again.value() == 7);
  CHECK(rounds == 2);
}

TEST_CASE(
    "A body and a commit of cells in PostgreSQL that each read what the other writes exclude") {
  for (const bool there : {true, false}) {  // a cell that nobody wrote is read as well
    CAPTURE(there);
    auto c = fresh_client({.timeout = 20s});
    auto other = postgres::client(server().conninfo(), {.prefix = c.options().prefix});
    const postgres::versioned<int> a(c, "a"), b(c, "b");
    REQUIRE(a.store(1).applied());
    if (there) REQUIRE(b.store(1).applied());
    const auto cell_a = other.object_named(object_kind::cell, "a");
    const auto cell_b = other.object_named(object_kind::cell, "b");
    const std::uint64_t seen = other.cell_load(cell_b, {})->version;
    int bodies = 0;
    const auto done = atomically(c, [&](transaction& t) {
      const int read = t.read(a).value_or(0);
      if (++bodies == 1) {
        using object = postgres::client::object;
        const store::cell_check<object> checks[] = {{&cell_b, seen}};
        const std::string two = store::codec<int>::encode(2);
        const store::cell_write<object> writes[] = {{&cell_a, two}};
        const auto committed = other.cells_commit(checks, writes, {});
        if (!committed.applied()) FAIL(committed.error().message());
      }
      t.write(b, read + 10);
      return read;
    });
    CHECK(done.value_or(0) == 2);
    CHECK(bodies == 2);
    CHECK(b.load()->value == 12);
  }
}

TEST_CASE("A body of PostgreSQL and commits of several cells have one order for a third to see") {
  auto c = fresh_client({.timeout = 20s});
  auto other = postgres::client(server().conninfo(), {.prefix = c.options().prefix});
  const postgres::versioned<int> x(c, "x"), y(c, "y"), u(c, "u");
  const postgres::versioned<int> third_x(other, "x"), third_y(other, "y");
  for (const auto* cell : {&x, &y, &u}) REQUIRE(cell->store(0).applied());
  const auto cell_x = other.object_named(object_kind::cell, "x");
  const auto cell_u = other.object_named(object_kind::cell, "u");
  int bodies = 0;
  std::pair<int, int> third{-1, -1};
  const auto done = atomically(c, [&](transaction& t) {
    const int read = t.read(x).value_or(-1);
    if (++bodies == 1) {
      using object = postgres::client::object;
      const std::string five = store::codec<int>::encode(5);
      const store::cell_write<object> writes[] = {{&cell_x, five}, {&cell_u, five}};
      const auto committed = other.cells_commit({}, writes, {});
      if (!committed.applied()) FAIL(committed.error().message());
      const auto saw = atomically(other, [&](transaction& its) {
        third = {its.read(third_x).value_or(-1), its.read(third_y).value_or(-1)};
      });
      if (!saw.applied()) FAIL(saw.error().message());
    }
    t.write(y, 1);
    return read;
  });
  // The third saw the commit and no body: so the body comes after both, and reads what they left.
  CHECK(third == std::pair(5, 0));
  CHECK(done.value_or(-1) == 5);
  CHECK(bodies == 2);
}

TEST_CASE("An id whose first statement meets what it did before has its answer") {
  throwaway_postgres mine({.fsync = false});
  postgres::client c(mine.conninfo(), {.prefix = "first", .timeout = 20s});
  person other(mine.conninfo());
  other.say("create table orders (item text primary key)");
  other.say(
      "create function wait_here() returns trigger language plpgsql as $$ begin perform "
      "pg_advisory_xact_lock(7); return null; end $$");
  other.say(
      "create constraint trigger slowly after insert on orders deferrable initially deferred "
      "for each row execute function wait_here()");
  const auto order = [&](const operation_id& id, std::chrono::milliseconds timeout) {
    return atomically(c,
                      [&](transaction& t) {
                        t.execute("insert into orders values ('book')");
                        return 7;
                      },
                      {.timeout = timeout, .id = id});
  };
  const auto id = operation_id::fresh();

  // The server is busy with COMMIT, the caller gives up and asks again.
  other.say("select pg_advisory_lock(7)");
  REQUIRE(order(id, 300ms).unknown());
  std::atomic<int> answer{0};
  std::thread again([&] { answer = order(id, 20s).value_or(-1); });
  person watcher(mine.conninfo());
  const bool both_wait = somebody_waits(watcher, "2");  // one for the lock, one for the row
  other.say("select pg_advisory_unlock(7)");
  again.join();
  CHECK(both_wait);
  CHECK(answer == 7);

  CHECK(order(id, 20s).value() == 7);                    // and when it was committed long ago
  const auto fresh = order(operation_id::fresh(), 20s);  // the control: another id has no answer
  REQUIRE(fresh.refused());
  CHECK(fresh.error().detail.find("orders_pkey") != std::string::npos);
  CHECK(other.say("select count(*) from orders") == "1");
}

TEST_CASE(
    "An id of PostgreSQL that was done has its answer though the body does not come that far") {
  auto c = fresh_client();
  auto stranger = fresh_client();
  const postgres::counter hits(c, "hits");
  const postgres::counter elsewhere(stranger, "hits");
  const postgres::serial_queue<int> line(c, "line");
  const auto id = operation_id::fresh();
  const auto last = [&](const operation_id& under, auto before) {
    return atomically(c,
                      [&](transaction& t) {
                        before(t);
                        return t.add(hits, 5);
                      },
                      {.id = under});
  };
  const auto throws = [](transaction&) { throw std::runtime_error("no"); };
  const auto pushes = [&](transaction& t) {
    t.push(line, "k", 1);
    throw std::runtime_error("no");
  };
  const auto strays = [&](transaction& t) { t.add(elsewhere, 1); };
  CHECK_THROWS_AS((void)last(id, throws), std::runtime_error);
  CHECK_THROWS_AS((void)last(id, pushes), std::runtime_error);
  const auto stray = last(id, strays);
  REQUIRE(stray.refused());
  CHECK(stray.error().code == errc::bad_argument);
  CHECK(hits.load().value() == 0);

  CHECK(last(id, [](transaction&) {}).value() == 5);
  CHECK(last(id, throws).value_or(0) == 5);
  CHECK(last(id, pushes).value_or(0) == 5);
  CHECK(last(id, strays).value_or(0) == 5);
  CHECK(hits.load().value() == 5);
  CHECK(c.queue_depth(c.object_named(object_kind::queue, "line"), {})->waiting == 0);
  CHECK_THROWS_AS((void)last(operation_id::fresh(), throws), std::runtime_error);  // the control
}

TEST_CASE("A savepoint of PostgreSQL holds for cells too") {
  auto c = fresh_client();
  const postgres::versioned<int> cell(c, "cell"), other(c, "other");
  REQUIRE(cell.store(1).applied());
  const auto done = atomically(c, [&](transaction& t) {
    t.write(cell, 2);
    t.write(other, 2);
    t.execute("savepoint outer_one");
    t.write(cell, 3);
    t.execute("savepoint inner_one");
    t.write(cell, 4);
    t.erase(other);
    CHECK(t.read(cell) == 4);
    t.execute("rollback to inner_one");
    CHECK(t.read(cell) == 3);
    CHECK(t.read(other) == 2);
    t.write(cell, 5);
    t.execute("rollback to savepoint outer_one");
    return t.read(cell).value_or(0);
  });
  if (!done.applied()) FAIL(done.error().message());
  CHECK(done.value() == 2);
  CHECK(cell.load()->value == 2);
  CHECK(other.load()->value == 2);
  CHECK(atomically(c, [&](transaction& t) {
          t.execute("savepoint here");
          t.write(cell, 6);
          t.execute("release here");
        }).applied());
  CHECK(cell.load()->value == 6);
}

TEST_CASE("A statement that would end the transaction is refused and nothing is done") {
  auto c = fresh_client();
  const postgres::counter hits(c, "hits");
  for (const char* const sql :
       {"commit", "COMMIT and chain", " ;-- no\n /* /* */ */ rollback", "end", "abort", "begin",
        "start transaction", "prepare transaction 'x'", "rollback work", "select 1; commit"}) {
    const auto refused = atomically(c, [&](transaction& t) {
      t.add(hits, 1);
      t.execute(sql);
    });
    CAPTURE(sql);
    CHECK(refused.refused());
  }
  CHECK(hits.load().value() == 0);
  const auto nested = atomically(c, [&](transaction& t) {
    t.execute("savepoint here");
    t.add(hits, 5);
    t.execute("rollback to here");
    t.add(hits, 1);
  });
  CHECK(nested.applied());
  CHECK(hits.load().value() == 1);
}
