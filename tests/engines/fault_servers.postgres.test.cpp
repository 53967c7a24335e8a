// SPDX-License-Identifier: BSL-1.0
// What a PostgreSQL promises by its settings, what its clock does to leases, and what naive forms
// of transactions and queues do to it.

#include "engines/faults/postgres.hpp"
#include "engines/faults/shifted_server.hpp"

#include <interlock/postgres/serial_queue.hpp>
#include <interlock/testing/list_append.hpp>

#include <atomic>
#include <set>
#include <thread>

#include "engines/faults/clocks.hpp"
#include "engines/faults/settings.hpp"
#include "engines/postgres/server.hpp"
#include "support/eventually.hpp"

TEST_CASE("settings: a PostgreSQL promises what its settings give and kill -9 shows it") {
  using namespace faults;
  using store::durability;
  if (!place::available()) return;
  struct one_server {
    expected_promise row;
    interlock::testing::postgres_options how;
  };
  const one_server all[] = {
      {{"as installed", durability::power_loss, "synchronous_standby_names"}, {}},
      {{"synchronous_commit local", durability::power_loss, "synchronous_commit"},
       {.settings = {{"synchronous_commit", "local"}}}},
      {{"full_page_writes off", durability::process_crash, "full_page_writes"},
       {.settings = {{"full_page_writes", "off"}}}},
      {{"fsync off", durability::process_crash, "fsync"}, {.fsync = false}},
      {{"synchronous_commit off", durability::none, "synchronous_commit"},
       {.settings = {{"synchronous_commit", "off"},
                     {"wal_writer_delay", "10s"},
                     {"wal_writer_flush_after", "1GB"}}}}};
  for (const one_server& one : all) {
    interlock::testing::throwaway_postgres here(one.how);
    const auto open = [&](store::client_options options) {
      return place::client(here.conninfo(), std::move(options));
    };
    promises(one.row, open);
    const auto crash = [&] {
      here.crash();
      here.restart();
    };
    auto lost = lost_by_a_crash(crash, open);
    // The server may have flushed by itself just before.
    const bool may_lose = one.row.keeps == durability::none;
    for (int i = 0; i < 2 && may_lose && lost == 0; ++i) lost = lost_by_a_crash(crash, open);
    tell(place::engine, "settings: %s: kill -9 took %lld of 200 acknowledged",
         one.row.settings.c_str(), static_cast<long long>(lost));
    CHECK((lost > 0) == may_lose);
  }
}

TEST_CASE("outbox: who reads by id > last misses a row for ever and a queue misses none") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  const std::string address = here.address();
  person early(address), late(address), reader(address);
  early.say("create table outbox (id bigserial primary key)");
  early.say("begin");
  early.say("insert into outbox default values");  // 1, not committed yet
  late.say("insert into outbox default values");   // 2
  CHECK(reader.say("select id from outbox where id > 0 order by id") == "2");
  early.say("commit");
  const bool missed = reader.say("select id from outbox where id > 2").empty();
  CHECK(reader.say("select count(*) from outbox") == "2");
  CHECK(missed);

  const auto options = fresh();
  auto client = here.open(options);
  const interlock::postgres::serial_queue<std::string> queue(client, "outbox");
  std::atomic<bool> pushed{false}, over{false};
  std::thread slow([&] {
    static_cast<void>(interlock::postgres::atomically(client, [&](place::transaction& t) {
      t.push(queue, "early", std::string("one"));
      t.execute("select 1");
      // order: release [fault.pushed] pairs with [fault.seen]: what the body did
      pushed.store(true, std::memory_order_release);
      // order: acquire [fault.over] pairs with [fault.end]: what the reader did
      while (!over.load(std::memory_order_acquire)) std::this_thread::sleep_for(1ms);
    }));
  });
  // order: acquire [fault.seen] pairs with [fault.pushed]: what the body did
  const bool begun = support::eventually([&] { return pushed.load(std::memory_order_acquire); });
  const auto at = client.object_named(store::object_kind::queue, "outbox");
  const auto me = store::unique_id::fresh();
  std::multiset<std::string> seen;
  const auto take_all = [&] {
    for (;;) {
      const auto item = client.queue_take(at, me, 10s, 5, {});
      if (!item) return;
      seen.insert(item->key);
      static_cast<void>(client.queue_finish(at, item->key, me, item->attempt, {}));
    }
  };
  const bool put = client.queue_push(at, "late", "two", {}).applied();
  take_all();
  const bool only_late = seen == std::multiset<std::string>{"late"};
  // order: release [fault.end] pairs with [fault.over]: what the reader did
  over.store(true, std::memory_order_release);
  slow.join();
  take_all();
  tell(place::engine, "outbox: id > last lost %d of 2 rows, the queue %zu", missed ? 1 : 0,
       2 - seen.size());
  CHECK(begun);
  CHECK(put);
  CHECK(only_late);
  CHECK(seen == std::multiset<std::string>{"early", "late"});
}

TEST_CASE("transactions: READ COMMITTED in plain SQL shows a lost update and SERIALIZABLE none") {
  using namespace faults;
  using interlock::testing::isolation;
  if (!place::available()) return;
  place here;
  person setup(here.address());
  setup.say("create table list (key int primary key, numbers text not null default '')");
  for (const std::string level : {"read committed", "serializable"}) {
    setup.say("delete from list");
    setup.say("insert into list (key) values (0)");
    interlock::testing::list_append log(3);
    person one(here.address()), two(here.address());
    {
      auto by_one = log.begin(0), by_two = log.begin(1);
      for (person* each : {&one, &two}) each->say("begin isolation level " + level);
      const std::string get = "select numbers from list where key = 0";
      one.say(get);
      two.say(get);
      by_one.read(0, {});
      by_two.read(0, {});
      const auto append = [](person& by, std::uint64_t value) {
        by.say("update list set numbers = '" + std::to_string(value) + "' where key = 0");
        return by.say("commit").empty();
      };
      append(one, by_one.append(0)) ? by_one.applied() : by_one.aborted();
      const std::uint64_t value = by_two.append(0);
      append(two, value);
      const bool done = setup.say(get) == std::to_string(value);
      done ? by_two.applied() : by_two.aborted();
    }
    auto last = log.begin(2);
    last.read(0, {std::stoull(setup.say("select numbers from list where key = 0"))});
    last.applied();
    const auto found = log.check();
    tell(place::engine, "transactions, %s: %s", level.c_str(),
         found.findings.empty() ? "no anomaly" : found.findings.front().name.c_str());
    CHECK(static_cast<bool>(found.at(isolation::strict_serializable)) == (level == "serializable"));
  }
}
