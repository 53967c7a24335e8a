// SPDX-License-Identifier: BSL-1.0
// Transactions of SQLite: all or nothing, with tables of the user's own.

#include <interlock/sqlite/bounded_counter.hpp>
#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/idempotency_store.hpp>
#include <interlock/sqlite/run_in_transaction.hpp>
#include <interlock/sqlite/serial_queue.hpp>
#include <interlock/sqlite/transaction.hpp>
#include <interlock/sqlite/versioned.hpp>
#include <interlock/task.hpp>
#include <interlock/testing/temporary_folder.hpp>
#include <interlock/when_all.hpp>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engines/sqlite/children.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using interlock::testing::temporary_folder;
using sqlite::counter;
using bounded = sqlite::bounded_counter;
using cell = sqlite::versioned<int>;

namespace {

struct bank {
  temporary_folder place;
  sqlite::client db{place.path() + "/bank.db",
                    {.timeout = std::chrono::seconds(20)},
                    {.synchronous = sqlite::synchronous::normal}};
  cell one{db, "one"};
  cell other{db, "other"};
  counter sold{db, "sold"};

  int value(const cell& of) { return of.load().value().value.value_or(0); }
};

template <class F>
store::errc refusal_of(F f) {
  try {
    f();
  } catch (const store::failure& why) {
    return why.error().code;
  }
  return store::errc::engine_failure;
}

}  // namespace

TEST_CASE("All that a transaction of SQLite does is done or none of it") {
  bank b;
  b.one.store(100).value();
  sqlite::atomically(b.db, [&](sqlite::transaction& t) {
    t.prefetch(b.one, b.other);
    t.write(b.one, *t.read(b.one) - 30);
    t.write(b.other, t.read(b.other).value_or(0) + 30);
    CHECK(t.read(b.one) == 70);
    t.add(b.sold, 1);
    t.execute("CREATE TABLE orders(item TEXT, price REAL, note BLOB)");
    t.execute("INSERT INTO orders VALUES(?, ?, ?)", "lamp", 2.5, nullptr);
  }).value();
  CHECK(b.value(b.one) == 70);
  CHECK(b.value(b.other) == 30);
  CHECK(b.sold.load().value() == 1);
  CHECK(b.one.load().value().version == b.other.load().value().version);

  const auto rows = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
    t.erase(b.other);
    CHECK(t.load(b.sold) == 1);
    CHECK(t.execute("UPDATE orders SET price=price*2").changed() == 1);
    return t.execute("SELECT item, price, note, 7 FROM orders");
  });
  REQUIRE(rows.value().size() == 1);
  CHECK(rows->get<std::string>(0, 0) == "lamp");
  CHECK(rows->get<double>(0, 1) == 5.0);
  CHECK(!rows->at(0, 2));
  CHECK(rows->get<int>(0, 3) == 7);
  CHECK(!b.other.load().value().value);

  SECTION("a bound in the way is told and the rest goes on") {
    const bounded stock(b.db, "stock", {.value = 1, .low = 0, .high = 5});
    sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      CHECK(t.add(stock, -1) == 0);
      CHECK(!t.add(stock, -1));
      t.add(b.sold, 1);
    }).value();
    CHECK(stock.load().value() == 0);
    CHECK(b.sold.load().value() == 2);
  }
  SECTION("a step that the engine refuses undoes the rest, even if the body goes on") {
    const auto undone = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.add(b.sold, 5);
      try {
        t.add(b.sold, INT64_MAX);
      } catch (...) {
      }
    });
    REQUIRE(undone.refused());
    CHECK(undone.error().code == store::errc::bad_argument);
    CHECK(undone.error().operation == "transaction.add");
    CHECK(undone.error().object == "sold");
    CHECK(b.sold.load().value() == 1);
  }
}

TEST_CASE("A transaction of SQLite sees what no other writer changes until it ends") {
  bank b;
  constexpr int each = 50;
  support::run_threads(4, [&](std::size_t) {
    for (int i = 0; i < each; ++i) {
      sqlite::atomically(b.db, [&](sqlite::transaction& t) {
        const int seen = t.read(b.one).value_or(0);
        t.write(b.one, seen + 1);
      }).value();
    }
  });
  CHECK(b.value(b.one) == 4 * each);
  SECTION("but a load and a store do not") {
    const int before = b.value(b.one);
    std::barrier all_have_read(4);
    support::run_threads(4, [&](std::size_t) {
      const int seen = b.value(b.one);
      all_have_read.arrive_and_wait();
      b.one.store(seen + 1).value();
    });
    CHECK(b.value(b.one) == before + 1);
  }
}

TEST_CASE("An exception out of the body undoes a transaction of SQLite and goes on") {
  bank b;
  const auto body = [&](sqlite::transaction& t) {
    t.write(b.one, 5);
    t.add(b.sold, 1);
    throw std::runtime_error("no");
  };
  CHECK_THROWS_AS(sqlite::atomically(b.db, body), std::runtime_error);
  CHECK(b.value(b.one) == 0);
  CHECK(b.sold.load().value() == 0);
  CHECK(b.sold.add(1).value() == 1);
}

TEST_CASE("A statement that would end a transaction of SQLite is refused") {
  bank b;
  for (const char* const sql :
       {"COMMIT", "ROLLBACK", "END", "BEGIN", "SAVEPOINT s", "ATTACH ':memory:' AS more",
        "PRAGMA busy_timeout=0", "PRAGMA foreign_keys=ON", "SELECT 1; COMMIT", "", "SELECT ?",
        "CREATE TEMP TABLE interlock_counter(name, value)",
        "CREATE TEMP TRIGGER no BEFORE UPDATE ON interlock_counter BEGIN SELECT 1; END",
        "CREATE TEMP VIEW interlock_cell AS SELECT 1"}) {
    CAPTURE(sql);
    const auto done = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.add(b.sold, 1);
      CHECK(refusal_of([&] { t.execute(sql); }) == store::errc::bad_argument);
    });
    CHECK(done.applied());
  }
  CHECK(b.sold.load().value() == 14);
  SECTION("one that undoes it is noticed") {
    const auto undone = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.add(b.sold, 1);
      t.execute("CREATE TABLE one(x INTEGER PRIMARY KEY)");
      t.execute("INSERT INTO one VALUES(1)");
      t.execute("INSERT OR ROLLBACK INTO one VALUES(1)");
    });
    CHECK(undone.refused());
    CHECK(b.sold.load().value() == 14);
  }
  SECTION("a constraint that is not met is told, and the transaction may go on") {
    sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.execute("CREATE TABLE one(x INTEGER PRIMARY KEY)");
      t.execute("INSERT INTO one VALUES(?)", std::int64_t{1});
      CHECK(refusal_of([&] { t.execute("INSERT INTO one VALUES(1)"); }) ==
            store::errc::bad_argument);
      CHECK(refusal_of([&] { t.execute("SELECT nothing"); }) == store::errc::bad_argument);
      t.add(b.sold, 1);
    }).value();
    CHECK(b.sold.load().value() == 15);
  }
  SECTION("what a statement did before it failed is undone, and the transaction may go on") {
    const auto left = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.execute("CREATE TABLE log(x INTEGER UNIQUE)");
      t.execute("INSERT INTO log VALUES(7)");
      for (const char* const sql :
           {"INSERT INTO log SELECT abs(column1) FROM (VALUES(1),(-9223372036854775807-1))",
            "INSERT OR FAIL INTO log VALUES(2), (7)", "UPDATE log SET x=json('bad')"}) {
        CAPTURE(sql);
        CHECK(refusal_of([&] { t.execute(sql); }) == store::errc::bad_argument);
      }
      t.execute("INSERT INTO log VALUES(8)");
      return t.execute("SELECT sum(x) FROM log").get<std::int64_t>(0).value_or(-1);
    });
    CHECK(left.value() == 15);
  }
  SECTION("a push that fails leaves nothing of it") {
    const sqlite::serial_queue<int> jobs(b.db, "jobs");
    sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.execute(
          "CREATE TRIGGER full BEFORE INSERT ON interlock_item "
          "BEGIN SELECT RAISE(FAIL, 'full'); END");
      CHECK(refusal_of([&] { t.push(jobs, "k", 1); }) == store::errc::bad_argument);
      t.execute("DROP TRIGGER full");
      CHECK(t.push(jobs, "k", 1) == 1);
    }).value();
    CHECK(jobs.depth().value().waiting == 1);
  }
}

TEST_CASE("A transaction of SQLite that is repeated under its id is made once") {
  bank b;
  const auto id = store::operation_id::fresh();
  for (int i = 0; i < 3; ++i) {
    const auto sum = sqlite::atomically(
        b.db, [&](sqlite::transaction& t) { return t.add(b.sold, 2); }, {.id = id});
    CHECK(sum.value() == 2);
  }
  CHECK(b.sold.load().value() == 2);
  for (int i = 0; i < 2; ++i) {
    const auto none = sqlite::atomically(b.db, [&](sqlite::transaction& t) { t.add(b.sold, 2); },
                                         {.id = {id.session, 2}});
    CHECK(none.applied());
  }
  CHECK(b.sold.load().value() == 4);
  const auto old =
      sqlite::atomically(b.db, [&](sqlite::transaction& t) { t.add(b.sold, 2); }, {.id = id});
  REQUIRE(old.refused());
  CHECK(old.error().code == store::errc::expired);
}

TEST_CASE("The client of a transaction of SQLite is refused inside its body") {
  bank b;
  sqlite::atomically(b.db, [&](sqlite::transaction& t) {
    t.add(b.sold, 1);
    const auto inside = b.sold.add(1);
    CHECK(inside.refused());
    CHECK(inside.error().code == store::errc::bad_argument);
    CHECK(b.sold.load().value() == 0);  // a reader sees what was committed
  }).value();
  CHECK(b.sold.load().value() == 1);
  SECTION("and so is an object of another client") {
    sqlite::client elsewhere(":memory:");
    const counter foreign(elsewhere, "sold");
    const auto mixed = sqlite::atomically(b.db, [&](sqlite::transaction& t) { t.add(foreign, 1); });
    REQUIRE(mixed.refused());
    CHECK(mixed.error().code == store::errc::bad_argument);
    CHECK(foreign.load().value() == 0);
  }
  SECTION("it takes no other history there, and is closed when the body has ended") {
    sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      CHECK(refusal_of([&] { b.db.accept_history(); }) == store::errc::bad_argument);
      b.db.close();
      t.add(b.sold, 1);
    }).value();
    CHECK(b.sold.add(1).error().code == store::errc::closed);
    CHECK(refusal_of([&] { b.db.accept_history(); }) == store::errc::closed);
    sqlite::client again(b.place.path() + "/bank.db");
    CHECK(counter(again, "sold").load().value() == 2);
  }
}

TEST_CASE("A transaction of SQLite that takes too long is undone and refused") {
  bank b;
  const store::transaction_options brief{.timeout = std::chrono::milliseconds(30)};
  const auto endless = sqlite::atomically(
      b.db,
      [&](sqlite::transaction& t) {
        t.add(b.sold, 1);
        t.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) "
            "SELECT max(x) FROM n");
      },
      brief);
  REQUIRE(endless.refused());
  CHECK(endless.error().code == store::errc::timed_out);
  CHECK(b.sold.load().value() == 0);
}

TEST_CASE("A key that is run in a transaction of SQLite has its effect once") {
  bank b;
  const sqlite::idempotency_store<std::int64_t> payments(b.db, "payments");
  const interlock::fingerprint print{1};
  const auto sell = [&](sqlite::transaction& t) { return t.add(b.sold, 30); };
  support::run_threads(8, [&](std::size_t) {
    for (int i = 0; i < 5; ++i) {
      const auto paid =
          sqlite::run_in_transaction(b.db, payments, "order-" + std::to_string(i), print, sell);
      if (!paid || *paid > 150) throw std::runtime_error("not paid");
    }
  });
  CHECK(b.sold.load().value() == 150);

  SECTION("a body that throws leaves the key free") {
    const auto fails = [&](sqlite::transaction& t) -> std::int64_t {
      t.add(b.sold, 1000);
      throw std::runtime_error("no");
    };
    CHECK_THROWS_AS(sqlite::run_in_transaction(b.db, payments, "new", print, fails),
                    std::runtime_error);
    CHECK(sqlite::run_in_transaction(b.db, payments, "new", print, sell).value() == 180);
  }
  SECTION("it is the store's key: a claim finds the answer, and a lease is a conflict") {
    CHECK(payments.claim("order-0", print).value().known->response <= 150);
    const auto held = payments.claim("held", print).value();
    const auto paid = sqlite::run_in_transaction(b.db, payments, "held", print, sell);
    REQUIRE(paid.conflicted());
    CHECK(paid.conflict().what == store::idempotency_claim::state::busy);
    CHECK(b.sold.load().value() == 150);
  }
}

TEST_CASE("Awaited transactions of SQLite run on a thread of the client") {
  bank b;
  const sqlite::idempotency_store<std::int64_t> payments(b.db, "payments");
  std::thread::id where;
  const auto sell = [&](sqlite::transaction& t) {
    where = std::this_thread::get_id();
    return t.add(b.sold, 30);
  };
  const auto work = [&]() -> interlock::task<std::int64_t> {
    const auto first = co_await sqlite::async_run_in_transaction(b.db, payments, "a",
                                                                 interlock::fingerprint{1}, sell);
    const auto again = co_await sqlite::async_run_in_transaction(b.db, payments, "a",
                                                                 interlock::fingerprint{1}, sell);
    const auto free = co_await sqlite::async_atomically(b.db, sell);
    co_return first.value() * 10000 + again.value() * 100 + free.value();
  };
  CHECK(interlock::sync_wait(work()) == 303060);
  CHECK(where != std::this_thread::get_id());
  CHECK(b.sold.load().value() == 60);
  const auto throws = [&]() -> interlock::task<int> {
    const auto fails = [](sqlite::transaction&) -> int { throw std::runtime_error("no"); };
    co_return (co_await sqlite::async_atomically(b.db, fails)).value();
  };
  CHECK_THROWS_AS(interlock::sync_wait(throws()), std::runtime_error);

  const bank other;
  const sqlite::idempotency_store<std::int64_t> elsewhere(other.db, "payments");
  const auto refused =
      sqlite::run_in_transaction(b.db, elsewhere, "b", interlock::fingerprint{1}, sell);
  REQUIRE(refused.refused());
  CHECK(refused.error().code == store::errc::bad_argument);
  CHECK(b.sold.load().value() == 60);
}

TEST_CASE("A key of SQLite that is known with another fingerprint runs nothing") {
  bank b;
  const sqlite::idempotency_store<std::int64_t> payments(b.db, "payments");
  const auto sell = [&](sqlite::transaction& t) { t.add(b.sold, 30); };
  const auto run = [&](std::uint64_t print) {
    return sqlite::run_in_transaction(b.db, payments, "k", interlock::fingerprint{print}, sell);
  };
  CHECK(run(1).applied());
  CHECK(run(2).conflict().what == store::idempotency_claim::state::mismatch);
  CHECK(run(1).applied());
  CHECK(b.sold.load().value() == 30);
}

TEST_CASE("A process that is killed in a run leaves the key of SQLite free or its effect done") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  const sqlite::settings quick{.synchronous = sqlite::synchronous::normal};
  const auto pay = [&](sqlite::client& db, int order, auto during) {
    const sqlite::idempotency_store<std::int64_t> payments(db, "payments");
    const counter sold(db, "sold");
    sqlite::run_in_transaction(db, payments, std::to_string(order), interlock::fingerprint{1},
                               [&](sqlite::transaction& t) {
                                 t.add(sold, 1);
                                 during();
                               })
        .value();
  };
  constexpr int rounds = 10;
  for (int i = 0; i < rounds; ++i) {
    const support::shared_with_children<std::atomic<int>> paid;
    support::child_process child([&] {
      sqlite::client db(file, {}, quick);
      pay(db, 2 * i, [] {});
      pay(db, 2 * i + 1, [&] { ++*paid; });
      ++*paid;
      for (;;) ::usleep(1000);
    });
    REQUIRE(support::eventually([&] { return paid->load() >= 1 + i % 2; }));
    child.kill();  // within the second one, or soon after it
  }
  sqlite::client db(file, {}, quick);
  for (int order = 0; order < 2 * rounds; ++order) pay(db, order, [] {});
  CHECK(counter(db, "sold").load().value() == 2 * rounds);
}

TEST_CASE("An item that is finished in the transaction of its effect has it once in SQLite") {
  bank b;
  const sqlite::serial_queue<int> jobs(b.db, "jobs", {.lease = std::chrono::milliseconds(50)});
  sqlite::atomically(b.db, [&](sqlite::transaction& t) {
    CHECK(t.push(jobs, "k", 5) == 1);
    CHECK(t.push(jobs, "k", 7) == 2);
  }).value();
  const auto book = [&](const auto& job) {
    return sqlite::atomically(b.db, [&](sqlite::transaction& t) {
      t.add(b.sold, job.value());
      t.finish(jobs, job);
    });
  };
  // The first worker's take is made without its heartbeat, as if it were stopped.
  const store::unique_id stopped = store::unique_id::fresh();
  const auto first =
      b.db.queue_take(jobs.object(), stopped, std::chrono::milliseconds(20), 10, {}).value();
  REQUIRE(support::eventually([&] {
    const auto job = jobs.take();
    return job && book(*job).applied();
  }));
  const auto late = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
    t.add(b.sold, 5);
    t.finish(jobs, first.key, stopped, first.attempt);
  });
  REQUIRE(late.refused());
  CHECK(late.error().code == store::errc::lease_lost);
  CHECK(b.sold.load().value() == 5);
  const auto second = jobs.take().value();
  CHECK(second.value() == 7);
  CHECK(book(second).applied());
  CHECK(book(second).refused());
  CHECK(b.sold.load().value() == 12);
  CHECK(jobs.depth().value().waiting == 0);
}

TEST_CASE("An item that a transaction of SQLite finished is ended and not lost to its worker") {
  bank b;
  const sqlite::serial_queue<int> jobs(b.db, "jobs", {.poll = std::chrono::milliseconds(1)});
  for (int n = 0; n < 3; ++n) jobs.push("k", n).value();
  interlock::inplace_stop_source stop;
  int told = 0;
  std::vector<bool> ended;
  const auto done = jobs.work(
      [&](auto& job) {
        const auto said = sqlite::atomically(b.db, [&](sqlite::transaction& t) {
          t.add(b.sold, 1);
          t.finish(jobs, job);
        });
        ended.push_back(said.applied() && job.ended());
        told += job.lost().stop_requested();
        if (ended.size() == 3) stop.request_stop();
      },
      stop.get_token());
  CHECK(ended == std::vector<bool>(3, true));
  CHECK(told == 0);
  CHECK(done.finished == 3);
  CHECK(done.lost == 0);
  CHECK(jobs.depth().value().waiting == 0);

  // The control: one that was undone has ended nothing, and its item is the worker's.
  jobs.push("k", 3).value();
  auto job = jobs.take().value();
  CHECK_THROWS_AS(sqlite::atomically(b.db,
                                    [&](sqlite::transaction& t) {
                                      t.finish(jobs, job);
                                      throw std::runtime_error("no");
                                    }),
                  std::runtime_error);
  CHECK_FALSE(job.ended());
  CHECK(job.heartbeat().applied());
  CHECK_FALSE(job.lost().stop_requested());
  CHECK(job.finish().applied());
}

TEST_CASE("The time of an awaited transaction of SQLite runs while it waits for a thread") {
  sqlite::client db(":memory:", {.threads = 1});
  const sqlite::idempotency_store<int> payments(db, "payments");
  int bodies = 0;
  const auto count = [&](sqlite::transaction&) { return ++bodies; };
  std::atomic<bool> asked{false};
  const auto slow = [&]() -> interlock::task<bool> {
    const auto done = co_await sqlite::async_atomically(db, [&](sqlite::transaction&) {
      static_cast<void>(support::eventually([&] { return asked.load(); }));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than the others have
    });
    co_return done.applied();
  };
  const store::transaction_options hurried{.timeout = std::chrono::milliseconds(5)};
  const auto late = [](const auto& heard) {
    return heard.refused() && heard.error().code == store::errc::timed_out;
  };
  const auto alone = [&]() -> interlock::task<bool> {
    co_return late(co_await sqlite::async_atomically(db, count, hurried));
  };
  const auto keyed = [&]() -> interlock::task<bool> {
    co_return late(co_await sqlite::async_run_in_transaction(
        db, payments, "a", interlock::fingerprint{1}, count, std::chrono::hours(1), hurried));
  };
  const auto last = [&]() -> interlock::task<bool> { co_return !asked.exchange(true); };
  const auto [first, second, third, fourth] =
      interlock::sync_wait(interlock::when_all(slow(), alone(), keyed(), last()));
  CHECK((first && fourth));
  CHECK(second);
  CHECK(third);
  CHECK(bodies == 0);
}
