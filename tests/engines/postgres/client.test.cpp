// SPDX-License-Identifier: BSL-1.0
// A client of PostgreSQL: what it does once, what it does not know, what its server promises.

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/transaction.hpp>

#include "server.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

auto counter_of(const postgres::client& c, std::string_view name = "hits") {
  return c.object_named(object_kind::counter, name);
}
// Returns: text that says `update "prefix".table where`.
std::string in(const postgres::client& c, const char* before, const char* after) {
  return before + ('"' + c.options().prefix + "\".") + after;
}

}  // namespace

TEST_CASE("PostgreSQL does once what is asked for twice under one id") {
  auto c = fresh_client();
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  person other;
  other.say("begin");
  other.say(in(c, "select 1 from ", "counter for update"));
  const auto id = operation_id::fresh();
  const auto first = c.counter_add(hits, 5, {id, 100ms});
  REQUIRE(first.unknown());
  CHECK(first.id() == id);
  CHECK(first.error().code == errc::timed_out);
  other.say("commit");
  CHECK(c.counter_add(hits, 5, {id}).value() == 6);
  CHECK(c.counter_add(hits, 5, {id}).value() == 6);
  // The one that nobody waited for has ended, one way or the other.
  CHECK(support::eventually([&] {
    return other.say("select count(*) from pg_stat_activity where state = 'active'") == "1";
  }));
  CHECK(c.counter_load(hits, {}).value() == 6);

  // Every operation that takes an id, each with an answer or a conflict after it.
  const auto bounded = c.object_named(object_kind::bounded_counter, "b");
  CHECK(c.bounded_open(bounded, {5, 0, 10}, {}).value().value == 5);
  const auto second = operation_id::fresh();
  CHECK(c.bounded_add(bounded, 4, {second}).value() == 9);
  CHECK(c.bounded_add(bounded, 4, {second}).value() == 9);  // it would not fit again
  CHECK(c.bounded_add(bounded, 4, {}).conflicted());
  const auto cell = c.object_named(object_kind::cell, "c");
  const auto version = c.cell_put(cell, 0, "one", {second});
  CHECK(c.cell_put(cell, 0, "one", {second}).value() == version.value());
  CHECK(c.cell_put(cell, 0, "one", {}).conflicted());
  const auto other_cell = c.object_named(object_kind::cell, "d");
  using object = postgres::client::object;
  const store::cell_check<object> checks[] = {{&cell, version.value()}};
  const store::cell_write<object> writes[] = {{&other_cell, "two"}, {&cell, "three"}};
  const auto both = c.cells_commit(checks, writes, {second});
  REQUIRE(both.applied());
  CHECK(c.cells_commit(checks, writes, {second}).value() == both.value());
  CHECK(c.cells_commit(checks, writes, {}).conflict().now.version == both.value());
  const auto queue = c.object_named(object_kind::queue, "q");
  CHECK(c.queue_push(queue, "k", "p", {second}).value() == 1);
  CHECK(c.queue_push(queue, "k", "p", {second}).value() == 1);
  CHECK(c.queue_depth(queue, {}).value().waiting == 1);
  const auto mutex = c.object_named(object_kind::mutex, "m");
  const auto me = unique_id::fresh();
  const auto grant = c.lease_acquire(mutex, me, 10s, {});
  CHECK(c.lease_release(mutex, me, grant->fence, {second}).applied());
  CHECK(c.lease_release(mutex, me, grant->fence, {second}).applied());
  CHECK(c.lease_release(mutex, me, grant->fence, {}).conflicted());

  // The control: without an id, it is done twice.
  other.say("begin");
  other.say(in(c, "select 1 from ", "counter for update"));
  std::atomic<bool> unknown{false};
  std::thread naive([&] {
    postgres::client mine = c;
    // order: relaxed: joined before it is read
    unknown.store(mine.counter_add(hits, 5, {{}, 300ms}).unknown(), std::memory_order_relaxed);
  });
  CHECK(somebody_waits(other));
  other.say("commit");
  naive.join();
  CHECK(c.counter_add(hits, 5, {}).value() == 16);
}

TEST_CASE("PostgreSQL refuses an id that is older than its session as expired") {
  auto c = fresh_client();
  const auto hits = counter_of(c);
  store::operation_session session;
  const auto first = session.next(), second = session.next();
  CHECK(c.counter_add(hits, 1, {first}).value() == 1);
  CHECK(c.counter_add(hits, 1, {second}).value() == 2);
  const auto late = c.counter_add(hits, 1, {first});
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::expired);
  CHECK(c.counter_load(hits, {}).value() == 2);
  CHECK(c.counter_add(counter_of(c, "other"), 1, {first}).value() == 1);  // ids of their own
}

TEST_CASE("PostgreSQL refuses an id that was given to another operation") {
  auto c = fresh_client();
  const auto is_refused = [](const auto& came) {
    return came.refused() && came.error().code == errc::bad_argument;
  };
  const auto id = operation_id::fresh();
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 5, {id}).value() == 5);
  CHECK(is_refused(c.counter_exchange(hits, 1, {id})));
  CHECK(c.counter_load(hits, {}).value() == 5);
  CHECK(c.counter_add(hits, 5, {id}).value() == 5);

  const auto mutex = c.object_named(object_kind::mutex, "m");
  const auto me = unique_id::fresh(), she = unique_id::fresh();
  const std::uint64_t fence = c.lease_acquire(mutex, me, 1h, {}).value().fence;
  const std::uint64_t higher = c.lease_raise(mutex, me, fence, fence + 1, {id}).value().fence;
  CHECK(is_refused(c.lease_release(mutex, me, higher, {id})));
  CHECK(is_refused(c.lease_release(mutex, me, fence, {id})));  // no row: it is looked up
  CHECK(c.lease_acquire(mutex, she, 1h, {}).conflicted());     // it is held all the same
  CHECK(c.lease_raise(mutex, me, fence, fence + 1, {id}).value().fence == higher);

  const auto cell = c.object_named(object_kind::cell, "c");
  using object = postgres::client::object;
  const store::cell_write<object> writes[] = {{&cell, "two"}};
  const auto put = c.cell_put(cell, {}, "one", {id});
  CHECK(is_refused(c.cells_commit({}, writes, {id})));
  CHECK(c.cell_load(cell, {}).value().bytes == "one");
  CHECK(c.cell_put(cell, put.value(), "one", {id}).value() == put.value());  // it is a store, too

  // The next of the session may be any operation again.
  const operation_id next{id.session, id.sequence + 1};
  CHECK(c.counter_exchange(hits, 1, {next}).value() == 5);
  CHECK(c.counter_exchange(hits, 1, {next}).value() == 5);
  CHECK(is_refused(c.counter_add(hits, 1, {next})));
  CHECK(c.counter_add(hits, 1, {id}).error().code == errc::expired);
}

TEST_CASE("A client of PostgreSQL that finds another data set is refused until it accepts that") {
  auto c = fresh_client({.timeout = 10s});
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 7, {}).applied());
  const std::string before = c.incarnation();
  person other;
  other.say("drop schema \"" + c.options().prefix + "\" cascade");
  const auto gone = c.counter_add(hits, 1, {});
  REQUIRE(gone.refused());
  CHECK(gone.error().code == errc::history_lost);
  const auto still = c.counter_load(hits, {});
  REQUIRE(still.refused());
  CHECK(still.error().code == errc::history_lost);
  const postgres::client newcomer(server().conninfo(), {.prefix = c.options().prefix});
  CHECK(c.counter_load(hits, {}).error().code == errc::history_lost);  // tables, but others
  c.accept_history();
  CHECK(c.counter_load(hits, {}).value() == 0);  // at once
  CHECK(c.incarnation() != before);
  CHECK(c.incarnation() == newcomer.incarnation());
}

TEST_CASE("A client of PostgreSQL that accepted a data set uses no connection from before") {
  // The name leads to another server: here another database, while the first lives on.
  person other;
  REQUIRE(other.say("create database promoted") == "");
  const std::string old_place = server().conninfo();
  const std::string new_place = old_place + " dbname=promoted";
  const std::string prefix = fresh_prefix();
  std::atomic<bool> moved{false};
  postgres::settings how;
  how.connect = [&] { return PQconnectdb((moved ? new_place : old_place).c_str()); };
  auto c = fresh_client({.prefix = prefix, .connections = 2, .timeout = 10s}, how);
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 7, {}).applied());
  person blocks;  // keeps the second connection in use until the data set was accepted
  blocks.say("begin");
  blocks.say(in(c, "select 1 from ", "counter for update"));
  std::atomic<bool> applied{false};
  std::thread busy([&] {
    postgres::client mine = c;
    applied = mine.counter_add(hits, 1, {}).applied();
  });
  CHECK(somebody_waits(other));
  REQUIRE(c.counter_load(hits, {}).value() == 7);  // a healthy connection that is idle now

  moved = true;
  const std::string before = c.incarnation();
  c.accept_history();
  CHECK(c.incarnation() != before);
  CHECK(c.counter_load(hits, {}).value() == 0);
  blocks.say("commit");
  busy.join();
  CHECK(applied);  // its call began before
  const postgres::client promoted(new_place, {.prefix = prefix});
  postgres::client copy = promoted;
  for (int i = 1; i <= 4; ++i) {
    CHECK(c.counter_add(hits, 1, {}).value() == i);
    CHECK(copy.counter_load(counter_of(copy), {}).value() == i);
  }
  CHECK(other.say(in(c, "select value from ", "counter")) == "8");  // nothing came after
}

TEST_CASE("What was sent to PostgreSQL and not answered is unknown and never refused") {
  throwaway_postgres mine({.fsync = false});
  postgres::client c(mine.conninfo(), {.prefix = "crash", .connections = 1, .timeout = 5s});
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  person other(mine.conninfo());
  other.say("begin");
  other.say(in(c, "select 1 from ", "counter for update"));
  person watches(mine.conninfo());
  std::vector<store::status> answers;
  const auto id = operation_id::fresh();
  std::thread caller([&] { answers.push_back(c.counter_add(hits, 5, {id}).status()); });
  CHECK(somebody_waits(watches));
  mine.crash();
  caller.join();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0] == store::status::unknown);
  const auto refused = c.counter_add(hits, 5, {{}, 500ms});  // nothing was sent
  REQUIRE(refused.refused());
  mine.restart();
  CHECK(support::eventually([&] { return c.counter_add(hits, 5, {id}).applied(); }));
  CHECK(c.counter_load(hits, {}).value() == 6);

  // A backend that is told to end says that it did nothing: then it is done on another connection.
  person again(mine.conninfo());
  person looks(mine.conninfo());
  again.say("begin");
  again.say(in(c, "select 1 from ", "counter for update"));
  std::string said;
  std::thread next([&] {
    const auto came = c.counter_add(hits, 5, {});
    answers.push_back(came.status());
    if (!came.applied()) said = came.error().message();
  });
  CHECK(somebody_waits(looks));
  looks.say(
      "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'");
  again.say("commit");
  next.join();
  CHECK(said == "");
  CHECK(answers.back() == store::status::applied);
  CHECK(c.counter_load(hits, {}).value() == 11);

  // A cancelled statement did nothing either, and is not tried again.
  again.say("begin");
  again.say(in(c, "select 1 from ", "counter for update"));
  errc why{};
  std::thread cancelled([&] {
    const auto came = c.counter_add(hits, 5, {});
    answers.push_back(came.status());
    if (came.refused()) why = came.error().code;
  });
  CHECK(somebody_waits(looks));
  looks.say("select pg_cancel_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'");
  cancelled.join();
  again.say("commit");
  CHECK(answers.back() == store::status::refused);
  CHECK(why == errc::killed);
  CHECK(c.counter_load(hits, {}).value() == 11);
}

TEST_CASE("What is promised follows from the settings of PostgreSQL") {
  struct row {
    std::map<std::string, std::string> settings;
    store::durability keeps;
    const char* in_the_way;
  };
  const row rows[] = {
      {{}, store::durability::power_loss, "synchronous_standby_names"},
      {{{"synchronous_commit", "off"}}, store::durability::none, "synchronous_commit"},
      {{{"synchronous_commit", "local"}}, store::durability::power_loss, "synchronous_commit"},
      {{{"full_page_writes", "off"}}, store::durability::process_crash, "full_page_writes"},
      {{{"fsync", "off"}}, store::durability::process_crash, "fsync"},
  };
  throwaway_postgres mine({.settings = {{"fsync", "on"}}});
  person other(mine.conninfo());
  for (const row& each : rows) {
    other.say("alter system reset all");
    for (const auto& [name, value] : each.settings) {
      other.say("alter system set " + name + " = " + value);
    }
    other.say("select pg_reload_conf()");
    CHECK(support::eventually([&] {
      person fresh(mine.conninfo());
      bool all = true;
      for (const auto& [name, value] : each.settings) {
        all = all && fresh.say("show " + name) == value;
      }
      return all && (each.settings.contains("fsync") || fresh.say("show fsync") == "on");
    }));
    const postgres::client c(mine.conninfo());
    CHECK(c.probed().promised.keeps == each.keeps);
    CHECK(c.probed().promised.serializable);
    CHECK(c.probed().server.starts_with("PostgreSQL "));
    store::guarantees needed = postgres::client::claims;
    try {
      postgres::client demanding(mine.conninfo(), {.require = needed});
      FAIL_CHECK("a guarantee that is not kept");
    } catch (const store::failure& no) {
      CHECK(no.error().code == errc::guarantee_not_met);
      CHECK(no.error().detail.find(each.in_the_way) != std::string::npos);
      CHECK(!no.error().remedy.empty());
    }
    needed.keeps = each.keeps;
    CHECK_NOTHROW(postgres::client(mine.conninfo(), {.require = needed}));
  }

  // A commit that no standby has comes with a warning, which has to be told.
  other.say("alter system reset all");
  other.say("alter system set synchronous_standby_names = nobody");
  other.say("select pg_reload_conf()");
  CHECK(support::eventually([&] {
    person fresh(mine.conninfo());
    return fresh.say("show synchronous_standby_names") == "nobody" &&
           fresh.say("show fsync") == "on";
  }));
  const store::client_options all{.require = postgres::client::claims};
  const std::string deaf = mine.conninfo() + " options='-c client_min_messages=error'";
  CHECK_NOTHROW(postgres::client(mine.conninfo(), all));
  CHECK_NOTHROW(postgres::client(mine.conninfo(), all, {.prepare = false}));
  CHECK_NOTHROW(postgres::client(deaf, all));  // sets it
  try {
    postgres::client cannot_set(deaf, all, {.prepare = false});
    FAIL_CHECK("a guarantee that is not kept");
  } catch (const store::failure& no) {
    CHECK(no.error().code == errc::guarantee_not_met);
    CHECK(no.error().detail.find("client_min_messages") != std::string::npos);
    CHECK(!no.error().remedy.empty());
  }
  CHECK(postgres::client(deaf, {}, {.prepare = false}).probed().promised.keeps ==
        store::durability::power_loss);
}

TEST_CASE("A commit whose wait for a standby was cancelled is unknown") {
  throwaway_postgres mine({.settings = {{"synchronous_standby_names", "nobody"}}, .fsync = false});
  person other(mine.conninfo());
  other.say("set synchronous_commit = local");
  postgres::client c(mine.conninfo() + " options='-c synchronous_commit=local'",
                     {.prefix = "sync"});
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  const std::string deaf = mine.conninfo() + " options='-c client_min_messages=error'";
  postgres::client waits(deaf, {.prefix = "sync", .timeout = 20s});
  postgres::client behind_a_pooler(deaf, {.prefix = "sync", .timeout = 20s}, {.prepare = false});
  const auto add_after = [&](const char* sql) {
    return postgres::atomically(waits, [&](postgres::transaction& t) {
      t.execute(sql);
      t.add(postgres::counter(waits, "hits"), 5);
    });
  };
  using object = postgres::client::object;
  const object read = c.object_named(object_kind::cell, "read");
  const object written = c.object_named(object_kind::cell, "written");
  const store::cell_check<object> checks[] = {{&read, 0}};
  const store::cell_write<object> writes[] = {{&written, "x"}};
  const std::pair<const char*, std::function<store::status()>> calls[] = {
      {"a statement", [&] { return waits.counter_add(hits, 5, {}).status(); }},
      {"set local", [&] { return add_after("set local client_min_messages = error").status(); }},
      {"set", [&] { return add_after("set client_min_messages = error").status(); }},
      {"a function",
       [&] {
         return add_after("select set_config('client_min_messages', 'error', true)").status();
       }},
      {"a body behind a pooler",
       [&] {
         const postgres::counter same(behind_a_pooler, "hits");
         return postgres::atomically(behind_a_pooler,
                                     [&](postgres::transaction& t) { return t.add(same, 5); })
             .status();
       }},
      {"cells behind a pooler",
       [&] { return behind_a_pooler.cells_commit(checks, writes, {}).status(); }},
  };
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    std::vector<store::status> answers;
    std::thread caller([&, &ask = call] { answers.push_back(ask()); });
    CHECK(support::eventually([&] {
      return other.say(
                 "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event "
                 "= 'SyncRep'") == "1";
    }));
    caller.join();
    REQUIRE(answers.size() == 1);
    CHECK(answers[0] == store::status::unknown);
  }
  CHECK(c.counter_load(hits, {}).value() == 26);  // it is on this server
  CHECK(c.cell_load(written, {})->bytes == "x");
}
