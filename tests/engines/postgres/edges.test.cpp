// SPDX-License-Identifier: BSL-1.0
// What is forgotten, what is late, and what a body may ask: where PostgreSQL is of two minds.

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/idempotency_store.hpp>
#include <interlock/postgres/run_in_transaction.hpp>
#include <interlock/postgres/transaction.hpp>
#include <interlock/postgres/versioned.hpp>

#include "server.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace {

// Effects: as many requests under ids as make a connection delete what is old.
void until_pruned(postgres::client& c) {
  const auto other = c.object_named(object_kind::counter, "other");
  for (int i = 0; i < 1100; ++i) {
    if (!c.counter_add(other, 1, {.id = operation_id::fresh()}).applied()) return;
  }
}

}  // namespace

TEST_CASE("Old rows of PostgreSQL that another transaction holds are left and not waited for") {
  auto c = fresh_client({.connections = 1, .timeout = 20s, .retention = 1ms});
  const std::string schema = "\"" + c.options().prefix + "\".";
  const auto line = c.object_named(object_kind::queue, "line");
  const unique_id me = unique_id::fresh();
  REQUIRE(c.queue_push(line, "k", "first", {}).applied());
  const auto first = c.queue_take(line, me, 1min, 9, {});
  REQUIRE(first.applied());
  REQUIRE(c.queue_finish(line, "k", me, first->attempt, {}).applied());
  std::this_thread::sleep_for(20ms);  // older than is kept
  person other;
  other.say("begin");
  REQUIRE(other.say("with k as (update " + schema +
                    "queue_key set next = next + 1, waiting = waiting + 1 returning name, key, "
                    "next - 1 as sequence) insert into " +
                    schema +
                    "queue_item (name, key, sequence, payload) select name, key, sequence, "
                    "'second' from k returning sequence") == "2");
  std::atomic<bool> over{false};
  std::thread pruner([&] {
    until_pruned(c);
    // order: release; seen with what the pruner did
    over.store(true, std::memory_order_release);
  });
  person third;
  const auto is_over = [&] {
    // order: acquire; with the release above
    return over.load(std::memory_order_acquire);
  };
  CHECK(support::eventually([&] {
    return is_over() || third.say(
                            "select count(*) from pg_stat_activity where wait_event_type = "
                            "'Lock'") != "0";
  }));
  CHECK(is_over());
  other.say("commit");
  pruner.join();
  const auto second = c.queue_take(line, me, 1min, 9, {});
  REQUIRE(second.applied());
  CHECK(second->payload == "second");
}

TEST_CASE("An item that was set aside keeps PostgreSQL from giving its number again") {
  auto c = fresh_client({.connections = 1, .timeout = 20s, .retention = 1ms});
  const auto line = c.object_named(object_kind::queue, "line");
  const unique_id me = unique_id::fresh();
  for (const char* const payload : {"first", "second"}) {
    REQUIRE(c.queue_push(line, "k", payload, {}).applied());
    const auto taken = c.queue_take(line, me, 1min, 1, {});
    REQUIRE(taken.applied());
    REQUIRE(c.queue_give_back(line, "k", me, taken->attempt, 0ms, {}).applied());
    const auto idle = c.queue_take(line, me, 1min, 1, {});
    if (idle.refused()) FAIL(idle.error().message());
    CHECK(idle.conflicted());
    std::this_thread::sleep_for(20ms);
    until_pruned(c);
  }
  CHECK(c.queue_set_aside(line, 9, {})->size() == 2);
}

TEST_CASE("What PostgreSQL keeps for idempotency keys goes when it is old, without any id") {
  auto c = fresh_client({.connections = 1, .retention = 1ms});
  const auto keys = c.object_named(object_kind::idempotency, "keys");
  const unique_id me = unique_id::fresh();
  for (int i = 0; i < 1100; ++i) {
    std::string key = "key ";
    key += std::to_string(i);
    REQUIRE(c.idempotency_claim(keys, key, fingerprint{1}, me, 1ms, {}).applied());
  }
  person other;
  const std::string left =
      other.say("select count(*) < 1000 from \"" + c.options().prefix + "\".idempotency");
  CHECK(left == "t");
}

TEST_CASE("A key of PostgreSQL counts its attempts on after its answer was forgotten") {
  auto c = fresh_client({.connections = 1, .retention = 1h});
  const auto keys = c.object_named(object_kind::idempotency, "keys");
  const unique_id me = unique_id::fresh();
  const auto first = c.idempotency_claim(keys, "k", fingerprint{1}, me, 1min, {});
  REQUIRE(first.applied());
  REQUIRE(c.idempotency_complete(keys, "k", me, first->attempt, "done", 1ms, {}).applied());
  std::this_thread::sleep_for(20ms);  // longer than it is kept
  until_pruned(c);
  const auto second = c.idempotency_claim(keys, "k", fingerprint{2}, me, 1min, {});
  REQUIRE(second.applied());
  CHECK(second->what == store::idempotency_claim::state::claimed);
  CHECK(second->attempt == first->attempt + 1);
}

TEST_CASE("What transactions of PostgreSQL keep goes when it is old, without any other call") {
  auto c = fresh_client({.connections = 1, .retention = 1ms});
  const postgres::idempotency_store<std::int64_t> keys(c, "keys");
  const postgres::counter hits(c, "hits");
  for (int i = 0; i < 600; ++i) {
    const auto done = postgres::run_in_transaction(
        c, keys, "key " + std::to_string(i), fingerprint{1},
        [&](postgres::transaction& t) { return t.add(hits, 1); }, 1ms);
    REQUIRE(done.applied());
  }
  person other;
  const auto few = [&](const char* table) {
    return other.say("select count(*) < 550 from \"" + c.options().prefix + "\"." + table);
  };
  CHECK(few("idempotency") == "t");
  for (int i = 0; i < 600; ++i) {
    const auto done = postgres::atomically(c, [&](postgres::transaction& t) { t.add(hits, 1); },
                                           {.id = operation_id::fresh()});
    REQUIRE(done.applied());
  }
  CHECK(few("operation") == "t");
}

TEST_CASE("PostgreSQL remembers an id for the retention after it was asked for last") {
  auto c = fresh_client({.retention = 24h});
  const auto hits = c.object_named(object_kind::counter, "hits");
  const auto stock = c.object_named(object_kind::bounded_counter, "stock");
  const auto mutex = c.object_named(object_kind::mutex, "mutex");
  const auto cell = c.object_named(object_kind::cell, "cell");
  const auto both = c.object_named(object_kind::cell, "both");
  const unique_id me = unique_id::fresh();
  REQUIRE(c.bounded_open(stock, {5, 0, 9}, {}).applied());
  const std::uint64_t fence = c.lease_acquire(mutex, me, 1h, {}).value().fence;
  using object = postgres::client::object;
  const store::cell_write<object> writes[] = {{&both, "x"}};
  const auto id = operation_id::fresh();
  const auto ask_all = [&] {
    CHECK(c.counter_add(hits, 5, {id}).value() == 5);
    CHECK(c.bounded_add(stock, -5, {id}).value() == 0);  // there is no room for it again
    CHECK(c.cell_put(cell, 0, "x", {id}).applied());     // and here is another version
    CHECK(c.cells_commit({}, writes, {id}).applied());
    CHECK(c.lease_release(mutex, me, fence, {id}).applied());
    CHECK(postgres::atomically(c, [](postgres::transaction&) { return 7; }, {.id = id}).value() ==
          7);
  };
  ask_all();
  person other;
  other.say("set search_path = \"" + c.options().prefix + '"');
  const auto age_by = [&](const char* hours) {
    return other.say(std::string("with aged as (update operation set at = clock_timestamp() - ") +
                     "interval '" + hours + " hours' returning 1) select count(*) from aged");
  };
  const auto fresh = [&] {
    return other.say("select count(*) from operation where clock_timestamp() - at < '1min'");
  };
  REQUIRE(age_by("20") == "6");
  REQUIRE(fresh() == "0");
  ask_all();
  CHECK(fresh() == "6");
  REQUIRE(age_by("2") == "6");
  ask_all();
  CHECK(fresh() == "0");  // they are young: nothing is written for that

  // Who cannot note it has the answer all the same.
  REQUIRE(age_by("20") == "6");
  postgres::client reads(server().conninfo() + " options='-c default_transaction_read_only=on'",
                         c.options());
  CHECK(reads.counter_add(hits, 5, {id}).value() == 5);
  CHECK(reads.bounded_add(stock, -5, {id}).value() == 0);
  CHECK(postgres::atomically(reads, [](postgres::transaction&) { return 8; }, {.id = id}).value() ==
        7);
  CHECK(fresh() == "0");
}

TEST_CASE("A wait for a connection counts to the deadline of a call to PostgreSQL") {
  auto c = fresh_client({.connections = 1, .timeout = 5s});
  const postgres::counter hits(c, "hits");
  const postgres::counter free_one(c, "free");
  REQUIRE(hits.add(1).applied());
  REQUIRE(free_one.add(1).applied());
  person other;
  other.say("begin");
  other.say("update \"" + c.options().prefix + "\".counter set value = value");
  std::thread holder([&] { (void)hits.add(1, {.timeout = 1500ms}); });
  person third;
  REQUIRE(somebody_waits(third));
  const auto begun = std::chrono::steady_clock::now();
  const auto late = free_one.add(1, {.timeout = 2000ms});
  const auto took = std::chrono::steady_clock::now() - begun;
  holder.join();
  other.say("rollback");
  CHECK_FALSE(late.applied());
  CHECK(took < 3s);  // not its 2 s, and then 2 s more
}

TEST_CASE("What PostgreSQL does before it begins a statement counts to the deadline of the call") {
  auto c = fresh_client({.connections = 1, .timeout = 5s});
  const postgres::counter hits(c, "hits");
  REQUIRE(hits.load().applied());  // a connection, which has not seen the next statement
  person other;
  const std::string table = "\"" + c.options().prefix + "\".counter";
  other.say("insert into " + table + " (name, value) values ('hits', 1)");
  other.say("begin");
  other.say("update " + table + " set value = value");
  other.say("savepoint here");
  other.say("lock table " + table + " in access exclusive mode");
  std::chrono::steady_clock::duration took{};
  bool applied = true;
  std::thread adder([&] {
    const auto begun = std::chrono::steady_clock::now();
    applied = hits.add(1, {.timeout = 2000ms}).applied();
    took = std::chrono::steady_clock::now() - begun;
  });
  person third;
  const bool waits = somebody_waits(third);  // to be prepared
  std::this_thread::sleep_for(1500ms);
  other.say("rollback to here");  // now it waits for the row
  adder.join();
  other.say("rollback");
  REQUIRE(waits);
  CHECK_FALSE(applied);
  CHECK(took < 3s);  // not 1.5 s, and then 2 s more
}

TEST_CASE("An answer of PostgreSQL that is there before the statement ends gives it no more time") {
  auto c = fresh_client({.connections = 1, .timeout = 5s});
  const postgres::counter hits(c, "hits");
  REQUIRE(hits.add(1).applied());
  person other;
  const std::string schema = "\"" + c.options().prefix + "\".";
  other.say("create function " + schema +
            "slow() returns trigger language plpgsql as $$ begin "
            "if tg_when = 'BEFORE' then perform pg_sleep(1.5); else "
            "raise warning 'sends what is there'; perform pg_sleep(20); end if; "
            "return new; end $$");
  other.say("create trigger before before update on " + schema +
            "counter for each row execute function " + schema + "slow()");
  other.say("create constraint trigger after after update on " + schema +
            "counter initially deferred for each row execute function " + schema + "slow()");
  const auto begun = std::chrono::steady_clock::now();
  const auto late = hits.add(1, {.timeout = 2000ms});
  const auto took = std::chrono::steady_clock::now() - begun;
  CHECK(late.unknown());
  CHECK(took < 3s);  // not 1.5 s to the row, and then 2 s more to the end
}

TEST_CASE("A body that ran past the deadline commits nothing to PostgreSQL and knows it") {
  auto c = fresh_client();
  const postgres::counter hits(c, "hits");
  const auto late = postgres::atomically(c,
                                         [&](postgres::transaction& t) {
                                           t.add(hits, 1);
                                           std::this_thread::sleep_for(400ms);
                                         },
                                         {.timeout = 300ms});
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::timed_out);
  CHECK(hits.load().value() == 0);
}

TEST_CASE("An answer of PostgreSQL that comes piece by piece is late by the deadline") {
  auto c = fresh_client();
  const auto begun = std::chrono::steady_clock::now();
  const auto late = postgres::atomically(
      c,
      [&](postgres::transaction& t) {
        t.execute("select pg_sleep(0.2), repeat('x', 10000) from generate_series(1, 100)");
      },
      {.timeout = 1s});
  const auto took = std::chrono::steady_clock::now() - begun;
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::timed_out);
  CHECK(took < 10s);  // of the 20 s that the rows take
}

TEST_CASE("What a body sets for its connection to PostgreSQL is gone after its transaction") {
  auto c = fresh_client({.connections = 1});
  const postgres::counter hits(c, "hits");
  const auto pid = [&] {
    return postgres::atomically(c,
                                [](postgres::transaction& t) {
                                  return t.execute("select pg_backend_pid()").get<int>(0).value();
                                })
        .value_or(0);
  };
  for (const char* const sql :
       {"set default_transaction_read_only = on", "/* yes */ SET SESSION lock_timeout = 1",
        "prepare mine as select 1", "listen something", "deallocate all", "discard plans",
        "reset all", "load 'plpgsql'", "create temp table mine (i int)",
        "create or replace local temporary view mine as select 1", "create table pg_temp.mine ()",
        "create temp sequence mine", "select 1 as i into temp mine",
        "(/**/ with x as (select 1 as i) select i into /* a */ local temporary table mine from x)",
        "explain analyze create temp table mine as select 1",
        "declare mine no scroll cursor with hold for select 1"}) {
    CAPTURE(sql);
    const int before = pid();
    const auto said = postgres::atomically(c, [&](postgres::transaction& t) { t.execute(sql); });
    if (!said.applied()) FAIL_CHECK(said.error().message());
    const auto added = hits.add(1);
    if (!added.applied()) FAIL_CHECK(added.error().message());
    CHECK(pid() != before);
  }
  // What ends with the transaction keeps the connection.
  const int before = pid();
  CHECK(postgres::atomically(c, [](postgres::transaction& t) {
          t.execute("set local lock_timeout = 1000");
          t.execute("set constraints all deferred");
          t.execute("select 1 as temp");
          t.execute("declare mine cursor for select 1");
        }).applied());
  CHECK(pid() == before);
}

TEST_CASE(
    "What a body names and PostgreSQL does not have is the body's mistake and no lost history") {
  auto c = fresh_client({.connections = 1});
  const postgres::counter hits(c, "hits");
  for (const char* const sql :
       {"insert into nowhere values (1)", "select nothing_such(1)", "create table no_such.t ()"}) {
    CAPTURE(sql);
    const auto no = postgres::atomically(c, [&](postgres::transaction& t) { t.execute(sql); });
    REQUIRE(no.refused());
    CHECK(no.error().code == errc::bad_argument);
  }
  // But the tables of the prefix are history.
  person().say("drop table \"" + c.options().prefix + "\".counter");
  const auto lost = postgres::atomically(c, [&](postgres::transaction& t) { t.add(hits, 1); });
  REQUIRE(lost.refused());
  CHECK(lost.error().code == errc::history_lost);
}

TEST_CASE("A statement that PostgreSQL cannot run is the body's mistake and costs no connection") {
  auto c = fresh_client({.connections = 1});
  const auto pid = [&] {
    return postgres::atomically(c,
                                [](postgres::transaction& t) {
                                  return t.execute("select pg_backend_pid()").get<int>(0).value();
                                })
        .value_or(0);
  };
  const int before = pid();
  for (const char* const sql :
       {"select sum(oid) from pg_class for update", "select 2147483647 + 1", "select 1 / 0",
        "selec 1", "select nothing", "execute nothing", "vacuum", "release savepoint nothing",
        "fetch nothing"}) {
    CAPTURE(sql);
    const auto no = postgres::atomically(c, [&](postgres::transaction& t) { t.execute(sql); });
    REQUIRE(no.refused());
    CAPTURE(no.error().message());
    CHECK(no.error().code == errc::bad_argument);
    CHECK(no.error().remedy.find("correct") != std::string::npos);
    CHECK(no.error().detail.find("SQLSTATE") != std::string::npos);
  }
  CHECK(pid() == before);
  // But the sum of a counter is the counter's.
  const postgres::counter hits(c, "hits");
  const auto high = postgres::atomically(c, [&](postgres::transaction& t) {
    t.add(hits, INT64_MAX);
    t.add(hits, 1);
  });
  REQUIRE(high.refused());
  CHECK(high.error().remedy.find("64 bits") != std::string::npos);
}

TEST_CASE("A body that PostgreSQL did not want to wait for is told so, and nothing was done") {
  auto c = fresh_client({.connections = 1});
  postgres::client hurried(
      server().conninfo() + " options='-c idle_in_transaction_session_timeout=100'",
      {.prefix = c.options().prefix, .connections = 1});
  const postgres::counter hits(hurried, "hits");
  for (const bool goes_on : {true, false}) {
    CAPTURE(goes_on);
    int bodies = 0;
    const auto late = postgres::atomically(hurried, [&](postgres::transaction& t) {
      ++bodies;
      t.add(hits, 1);
      std::this_thread::sleep_for(400ms);
      if (goes_on) t.execute("select 1");
    });
    REQUIRE(late.refused());
    CAPTURE(late.error().message());
    CHECK(late.error().code == errc::killed);
    CHECK(late.error().remedy.find("idle_in_transaction_session_timeout") != std::string::npos);
    CHECK(bodies == 1);
    CHECK(hits.load().value() == 0);
  }
}

TEST_CASE("Several writes of one kind go with one commit on a connection that is new") {
  auto c = fresh_client();
  const postgres::versioned<int> a(c, "a");
  const postgres::versioned<int> b(c, "b");
  const auto done = postgres::atomically(c, [&](postgres::transaction& t) {
    t.write(a, 1);
    t.write(b, 2);
  });
  if (!done.applied()) FAIL(done.error().message());
  CHECK(done.applied());
}

TEST_CASE("A statement that PostgreSQL answers with a stream, or not at all, ends no program") {
  auto c = fresh_client();
  const auto say = [&](std::string_view sql) {
    return postgres::atomically(c, [&](postgres::transaction& t) { t.execute(sql); });
  };
  for (const char* const stream : {"copy (select 1) to stdout", "copy x from stdin"}) {
    const auto no = postgres::atomically(c, [&](postgres::transaction& t) {
      t.execute("create temporary table x (i int)");
      t.execute(stream);
    });
    CAPTURE(stream);
    REQUIRE(no.refused());
    CHECK(no.error().code != errc::too_many_conflicts);
  }
  CHECK(say("-- nothing").applied());
  const auto torn = postgres::atomically(c, [&](postgres::transaction& t) {
    return t.execute("select $1::text", std::string("a\0b", 3)).get<std::string>(0).value();
  });
  REQUIRE(torn.refused());  // libpq would send "a"
  CHECK(torn.error().code == errc::bad_argument);
}
