// SPDX-License-Identifier: BSL-1.0
// What may go wrong with a PostgreSQL, and what is said of it.

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/transaction.hpp>

#include "server.hpp"

#include "engines/support/every_write.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace {

// Returns: why a client cannot be made.
store::error why_not(const std::string& address, store::client_options options = {},
                     postgres::settings how = {}) {
  try {
    const postgres::client c(address, std::move(options), std::move(how));
  } catch (const store::failure& what) {
    return what.error();
  }
  return {};
}

bool tells_all(const store::error& e) {
  return e.engine == "postgres" && !e.operation.empty() && !e.detail.empty() && !e.remedy.empty();
}

class writes : every_write<postgres::client> {
public:
  using every_write::every_write;

  // Effects: asks for each, under an id of its own that follows from `id`.
  // Returns: what each of them said; nothing of one that applied.
  std::map<std::string, std::optional<store::error>> all(operation_id id) {
    std::map<std::string, std::optional<store::error>> said;
    const auto note = [&said](const char* name, const auto& came) {
      CAPTURE(name);
      CHECK_FALSE(came.unknown());
      CHECK_FALSE(came.conflicted());
      said[name] = came.refused() ? std::optional(came.error()) : std::nullopt;
    };
    const auto next = [&id]() -> operation_id {
      if (id) ++id.session.high;
      return id;
    };
    note("counter.exchange", client.counter_exchange(count, 1, {.id = next()}));
    ask(id, note);
    note("transaction",
         postgres::atomically(client,
                              [&](postgres::transaction& t) {
                                t.add(postgres::counter(client, "hits"), 1);
                                t.write(postgres::versioned<int>(client, "number"), 1);
                              },
                              {.id = next()}));
    return said;
  }
};

// Checks that each was refused since the server may not write, and that it says what to do.
void check_read_only(const std::map<std::string, std::optional<store::error>>& said) {
  CHECK(said.size() == 18);
  for (const auto& [name, why] : said) {
    CAPTURE(name);
    if (!why) {
      FAIL_CHECK("it applied");
      continue;
    }
    CAPTURE(why->message());
    CHECK(why->code == errc::read_only);
    CHECK(tells_all(*why));
    CHECK(why->operation.starts_with(name));
    CHECK(why->remedy.find("connect to the primary") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("A PostgreSQL that cannot be reached is refused with the remedy") {
  struct row {
    std::string address;
    errc code;
  };
  throwaway_postgres locked({.fsync = false, .password = "secret"});
  const std::string here = server().conninfo();
  const row rows[] = {
      {"nonsense", errc::bad_address},
      {"host=/tmp nonsense=1", errc::bad_address},
      {"postgresql://host:notaport/db", errc::not_connected},
      {"host=/nowhere/at/all dbname=postgres", errc::not_connected},
      {"host=127.0.0.1 port=1 dbname=postgres connect_timeout=2", errc::not_connected},
      {here + " dbname=nowhere", errc::bad_address},
      {here + " user=nobody_here", errc::access_denied},
      {locked.conninfo() + " password=wrong", errc::access_denied},
  };
  for (const row& each : rows) {
    const store::error why = why_not(each.address);
    CAPTURE(each.address, why.message());
    CHECK(why.code == each.code);
    CHECK(tells_all(why));
  }
  CHECK(why_not(here, {.prefix = "no\"quotes"}).code == errc::bad_argument);
  CHECK(why_not(here, {.prefix = ""}).code == errc::bad_argument);
  CHECK(why_not(here, {.prefix = std::string(64, 'p')}).code == errc::bad_argument);  // cut to 63
  CHECK(why_not(here, {.prefix = std::string(63, 'p')}).detail.empty());
}

TEST_CASE("A PostgreSQL that does not answer is given up at the deadline") {
  throwaway_postgres mine({.fsync = false});
  postgres::client c(mine.conninfo(), {.timeout = 300ms});
  const postgres::counter hits(c, "hits");
  REQUIRE(hits.add(1).applied());
  mine.pause();
  const auto begun = std::chrono::steady_clock::now();
  const auto added = hits.add(1);
  const auto read = hits.load();  // connects anew, to nobody
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
  CHECK(added.unknown());
  CHECK(read.refused());
  CHECK(why_not(mine.conninfo(), {.timeout = 200ms}).code == errc::timed_out);
  CHECK(hits.add(1, {.timeout = -1ms}).error().code == errc::timed_out);
  mine.resume();
  CHECK(support::eventually([&] { return hits.load({.timeout = 5s}).applied(); }));
}

TEST_CASE("Tables of PostgreSQL that are not for this program are refused") {
  auto c = fresh_client();
  const std::string prefix = c.options().prefix;
  person other;
  other.say("update \"" + prefix + "\".meta set version = 99");
  const store::error newer = why_not(server().conninfo(), {.prefix = prefix});
  CHECK(newer.code == errc::wrong_schema);
  CHECK(tells_all(newer));

  // Who may not make a schema, and who may not use one.
  other.say("create role stranger login");
  const std::string as_stranger = server().conninfo() + " user=stranger";
  const store::error cannot = why_not(as_stranger, {.prefix = fresh_prefix()});
  CHECK(cannot.code == errc::access_denied);
  CHECK(tells_all(cannot));
  auto made = fresh_client();
  CHECK(why_not(as_stranger, {.prefix = made.options().prefix}).code == errc::access_denied);
  const std::string schema = '"' + made.options().prefix + '"';
  other.say("grant usage on schema " + schema + " to stranger");
  other.say("grant select on all tables in schema " + schema + " to stranger");
  postgres::client reader(as_stranger, {.prefix = made.options().prefix});
  CHECK(postgres::counter(reader, "hits").load().value() == 0);
  const auto denied = postgres::counter(reader, "hits").add(1);
  REQUIRE(denied.refused());
  CHECK(denied.error().code == errc::access_denied);
  CHECK(denied.error().object == "hits");
}

TEST_CASE("What PostgreSQL cannot take is refused and changes nothing") {
  auto c = fresh_client({.max_value_bytes = 1000});
  const auto cell = c.object_named(object_kind::cell, "cell");
  const auto big = c.cell_put(cell, {}, std::string(1001, 'x'), {});
  REQUIRE(big.refused());
  CHECK(big.error().code == errc::too_large);
  CHECK(tells_all(big.error()));
  CHECK(c.cell_load(cell, {})->version == 0);
  CHECK_THROWS_AS(c.object_named(object_kind::cell, ""), store::failure);
  CHECK_THROWS_AS(c.object_named(object_kind::cell, std::string(513, 'k')), store::failure);
  const auto queue = c.object_named(object_kind::queue, std::string(512, 'q'));
  CHECK(c.queue_push(queue, std::string(512, '\xff'), std::string("\0\xff", 2), {}).value() == 1);
  CHECK(c.queue_push(queue, "", "p", {}).error().code == errc::bad_argument);
  CHECK(c.queue_push(queue, std::string(513, 'k'), "p", {}).error().code == errc::too_large);
  const auto fenced = c.object_named(object_kind::fenced, "f");
  CHECK(c.fenced_open(fenced, UINT64_MAX, unique_id::fresh(), {}).error().code ==
        errc::bad_argument);
  CHECK(c.cell_put(cell, UINT64_MAX, "x", {}).conflicted());

  // A session that may only read.
  postgres::client reader(server().conninfo() + " options='-c default_transaction_read_only=on'",
                          {.prefix = c.options().prefix});
  const auto refused = postgres::counter(reader, "hits").add(1);
  REQUIRE(refused.refused());
  CHECK(refused.error().code == errc::read_only);
  CHECK(postgres::atomically(
            reader,
            [&](postgres::transaction& t) { t.write(postgres::versioned<int>(reader, "cell"), 1); })
            .error()
            .code == errc::read_only);
}

TEST_CASE("A PostgreSQL that may only be read refuses each kind of write and knows the state") {
  throwaway_postgres mine({.fsync = false});
  postgres::client c(mine.conninfo(), {.prefix = "shop", .timeout = 10s});
  const postgres::counter hits(c, "hits");
  writes each(c);
  const auto id = operation_id::fresh();
  REQUIRE(hits.add(7, {.id = id}).value() == 7);
  postgres::client before(mine.conninfo(), {.prefix = "before", .timeout = 10s});
  writes was_done(before);
  for (const auto& [name, why] : was_done.all(id)) {
    CAPTURE(name);
    if (why) FAIL_CHECK(why->message());
  }
  const auto set_to = [&mine](const char* value) {
    person other(mine.conninfo());
    other.say(std::string("alter system set default_transaction_read_only = ") + value);
    other.say("select pg_reload_conf()");
  };
  const auto reads_only = [&] {
    const auto came = hits.add(0);
    return came.refused() && came.error().code == errc::read_only;
  };
  set_to("on");
  REQUIRE(support::eventually(reads_only));
  const auto later = operation_id::fresh();
  check_read_only(each.all({}));
  check_read_only(each.all(later));
  CHECK(hits.add(7, {.id = id}).value() == 7);  // what was done before is known all the same
  CHECK(hits.load().value() == 7);
  for (const auto& [name, why] : was_done.all(id)) {
    CAPTURE(name);
    const bool takes_id = name != "idempotency_store.claim" && name != "serial_queue.take";
    CHECK(why.has_value() != takes_id);
  }
  CHECK(why_not(mine.conninfo(), {.prefix = "new"}).code == errc::read_only);
  const store::error picky = why_not(mine.conninfo() + " target_session_attrs=read-write");
  CHECK(picky.code == errc::read_only);
  CHECK(tells_all(picky));

  set_to("off");
  REQUIRE(support::eventually([&] { return !reads_only(); }));
  for (const auto& [name, why] : each.all(later)) {
    CAPTURE(name);
    if (why) FAIL_CHECK(why->message());
  }
}

TEST_CASE("PostgreSQL does not refuse an id whose answer cannot be looked up") {
  auto c = fresh_client();
  const auto hits = c.object_named(object_kind::counter, "hits");
  const auto stock = c.object_named(object_kind::bounded_counter, "stock");
  const auto id = operation_id::fresh();
  REQUIRE(c.counter_exchange(hits, INT64_MAX - 5, {}).applied());
  REQUIRE(c.counter_add(hits, 5, {.id = id}).value() == INT64_MAX);
  REQUIRE(c.bounded_open(stock, {2, 0, 9}, {}).applied());
  REQUIRE(c.bounded_add(stock, -2, {.id = id}).value() == 0);

  // Reads of the records fail, while a write that is not done looks at none.
  person other;
  other.say("set search_path = \"" + c.options().prefix + '"');
  other.say("create function fails() returns bool language plpgsql as $$ begin raise exception "
            "using errcode = '57014', message = 'enough'; end $$");
  other.say("alter table operation rename to records");
  other.say("create view operation as select * from records where fails()");
  postgres::client late(server().conninfo(), {.prefix = c.options().prefix});
  const auto no_sum = late.counter_add(hits, 5, {.id = id});  // over the limit by now
  const auto no_room = late.bounded_add(stock, -2, {.id = id});
  CHECK(no_sum.unknown());
  CHECK(no_sum.error().code == errc::killed);
  CHECK(tells_all(no_sum.error()));
  CHECK(no_sum.error().remedy == "ask again with the same operation id");
  CHECK(no_sum.id() == id);
  CHECK(no_room.unknown());
  CHECK(late.counter_add(hits, 5, {}).error().code == errc::bad_argument);  // nothing to look up
  CHECK(late.bounded_add(stock, -2, {}).conflicted());

  other.say("drop view operation");
  other.say("alter table records rename to operation");
  CHECK(c.counter_add(hits, 5, {.id = id}).value() == INT64_MAX);
  CHECK(c.bounded_add(stock, -2, {.id = id}).value() == 0);
  CHECK(c.counter_add(hits, 5, {.id = operation_id::fresh()}).error().code == errc::bad_argument);
}

TEST_CASE("A standby of PostgreSQL is refused until it is the primary, and then as another") {
  throwaway_postgres mine({.fsync = false});
  postgres::client c(mine.conninfo(), {.prefix = "shop", .timeout = 10s});
  const std::string writable = mine.conninfo() + " target_session_attrs=read-write";
  postgres::client choosy(writable, {.prefix = "shop", .timeout = 10s});
  const postgres::counter hits(c, "hits"), same(choosy, "hits");
  writes each(c);
  REQUIRE(same.load().value() == 0);
  const auto id = operation_id::fresh();
  REQUIRE(hits.add(7, {.id = id}).value() == 7);
  person(mine.conninfo())
      .say("copy (select) to '" + mine.process().folder() + "/data/standby.signal'");
  mine.restart();
  REQUIRE(mine.query("select pg_is_in_recovery()") == "t\n");
  check_read_only(each.all({}));
  check_read_only(each.all(operation_id::fresh()));
  CHECK(hits.load().error().code == errc::read_only);  // what it has may be late
  for (const char* const prefix : {"shop", "new"}) {
    const store::error why = why_not(mine.conninfo(), {.prefix = prefix});
    CHECK(why.code == errc::read_only);
    CHECK(tells_all(why));
  }
  for (const store::error& why : {why_not(writable), same.add(1).error(), same.load().error()}) {
    CHECK(why.code == errc::read_only);
    CHECK(tells_all(why));
    CHECK(why.remedy.find("promote a standby") != std::string::npos);
  }

  CHECK(mine.query("select pg_promote()") == "t\n");
  CHECK(support::eventually([&] {
    const auto came = hits.load();
    return came.refused() && came.error().code == errc::history_lost;
  }));
  c.accept_history();
  CHECK(hits.add(7, {.id = id}).value() == 7);
  CHECK(hits.load().value() == 7);
  for (const auto& [name, why] : each.all(operation_id::fresh())) {
    CAPTURE(name);
    if (why) FAIL_CHECK(why->message());
  }
}

TEST_CASE("A PostgreSQL without room refuses and keeps what was there") {
  auto c = fresh_client();
  // temp_file_limit stands for a full disk: both are of class 53, and nothing was done.
  postgres::client poor(server().conninfo() + " options='-c temp_file_limit=64 -c work_mem=64'",
                        {.prefix = c.options().prefix});
  const postgres::counter hits(poor, "hits");
  const auto full = postgres::atomically(poor, [&](postgres::transaction& t) {
    t.add(hits, 1);
    t.execute("select count(*) from (select n from generate_series(1, 200000) n order by -n) x");
  });
  REQUIRE(full.refused());
  CHECK(full.error().code == errc::out_of_space);
  CHECK(hits.load().value() == 0);
  CHECK(hits.add(1).value() == 1);
}

TEST_CASE("A client of PostgreSQL takes connections that the program makes, and needs no prepare") {
  int made = 0;
  auto c = fresh_client({.connections = 1}, {.prepare = false, .connect = [&made] {
                                               ++made;
                                               return PQconnectdb(server().conninfo().c_str());
                                             }});
  const postgres::counter hits(c, "hits");
  for (int i = 0; i < 10; ++i) CHECK(hits.add(1).value() == i + 1);
  CHECK(made == 2);  // one to look, one to work
  person other;
  CHECK(other.say("select count(*) from pg_stat_activity where query like '%prepare%interlock%' "
                  "and pid <> pg_backend_pid()") == "0");
  CHECK(postgres::atomically(c, [&](postgres::transaction& t) { return t.add(hits, 1); }).value() ==
        11);
  CHECK(why_not("", {}, {.connect = [] { return PQconnectdb("host=/nowhere"); }}).code ==
        errc::not_connected);
}
