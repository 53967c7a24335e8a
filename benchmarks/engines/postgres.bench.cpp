// SPDX-License-Identifier: BSL-1.0
// A PostgreSQL on a socket in a folder. Where nothing is said of durability, synchronous_commit is
// off, so that what the client adds can be seen beside the server's time. Raw contenders call
// PQexecPrepared on statements that are prepared once.

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/idempotency_store.hpp>
#include <interlock/postgres/run_in_transaction.hpp>
#include <interlock/postgres/versioned.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <libpq-fe.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "engines/jobs.hpp"

namespace engines {
namespace {

namespace postgres = interlock::postgres;
using interlock::testing::throwaway_postgres;

const throwaway_postgres& server() {
  static const throwaway_postgres one(
      {.settings = {{"synchronous_commit", "off"}, {"autovacuum", "off"}}});
  return one;
}

struct place {
  static const throwaway_postgres& where() { return server(); }
  static postgres::client make() { return postgres::client(server().conninfo()); }
};

const throwaway_postgres& durable_server() {
  static const throwaway_postgres one;
  return one;
}
struct durable_place {
  static const throwaway_postgres& where() { return durable_server(); }
  static postgres::client make() {
    return postgres::client(durable_server().conninfo(), {.connections = 64});
  }
};

class raw_connection {
public:
  using rows = std::unique_ptr<PGresult, void (*)(PGresult*)>;

  explicit raw_connection(const throwaway_postgres& to = server())
      : pg_(PQconnectdb(to.conninfo().c_str()), PQfinish) {
    check(PQexec(pg_.get(),
                 "create table if not exists counter (name bytea primary key, value int8 not null) "
                 "with (fillfactor = 50);"
                 "create table if not exists cell (name bytea primary key, version int8 not null, "
                 "bytes bytea) with (fillfactor = 50);"
                 "create table if not exists payment (id int8 generated always as identity primary "
                 "key, amount int8 not null);"
                 "create sequence if not exists version"));
  }
  void prepare(const char* name, const char* sql) {
    check(PQprepare(pg_.get(), name, sql, 0, nullptr));
  }
  rows run(const char* name, int count, const char* const* values, const int* lengths) {
    static constexpr std::array<int, 3> binary{1, 1, 1};
    return check(PQexecPrepared(pg_.get(), name, count, values, lengths, binary.data(), 1));
  }

  static std::int64_t number(const rows& in) {
    return postgres::detail::read_number(PQgetvalue(in.get(), 0, 0));
  }

private:
  static rows check(PGresult* result) {
    const ExecStatusType status = PQresultStatus(result);
    rows it(result, PQclear);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      throw std::runtime_error(PQresultErrorMessage(result));
    }
    return it;
  }

  std::unique_ptr<PGconn, void (*)(PGconn*)> pg_;
};

// A number and a name as parameters.
struct raw_add : raw_connection {
  raw_add() {
    prepare("add",
            "insert into counter as c (name, value) values ($1, $2) on conflict (name) do update "
            "set value = c.value + excluded.value returning value");
  }
  void operator()() {
    std::array<char, 8> one{};
    postgres::detail::write_number(one.data(), 1);
    const std::array<const char*, 2> values{"hits", one.data()};
    const std::array<int, 2> lengths{4, 8};
    benchmark::DoNotOptimize(number(run("add", 2, values.data(), lengths.data())));
  }
};

// The row is there for certain: a program that makes it somewhere else.
struct raw_update : raw_connection {
  raw_update() {
    prepare("make", "insert into counter values ($1, 0) on conflict do nothing");
    const char* const name = "hits";
    const int length = 4;
    run("make", 1, &name, &length);
    prepare("add", "update counter set value = value + $2 where name = $1 returning value");
  }
  void operator()() {
    std::array<char, 8> one{};
    postgres::detail::write_number(one.data(), 1);
    const std::array<const char*, 2> values{"hits", one.data()};
    const std::array<int, 2> lengths{4, 8};
    benchmark::DoNotOptimize(number(run("add", 2, values.data(), lengths.data())));
  }
};

struct raw_load : raw_connection {
  raw_load() {
    raw_add()();
    prepare("load", "select value from counter where name = $1");
  }
  void operator()() {
    const char* const name = "hits";
    const int length = 4;
    benchmark::DoNotOptimize(number(run("load", 1, &name, &length)));
  }
};

// A version that no other cell and no later one gets: what our cells do, by hand.
struct raw_store : raw_connection {
  raw_store() {
    prepare("store",
            "insert into cell as c (name, version, bytes) values ($1, nextval('version'), $2) on "
            "conflict (name) do update set version = nextval('version'), bytes = excluded.bytes "
            "returning version");
  }
  void operator()() {
    const std::array<const char*, 2> values{"cell", payload.data()};
    const std::array<int, 2> lengths{4, static_cast<int>(payload.size())};
    benchmark::DoNotOptimize(number(run("store", 2, values.data(), lengths.data())));
  }
};

// An effect: a row of a table of the program's own.
template <class Place>
struct raw_payment : raw_connection {
  raw_payment() : raw_connection(Place::where()) {
    prepare("pay", "insert into payment (amount) values ($1) returning id");
  }
  void operator()() {
    std::array<char, 8> amount{};
    postgres::detail::write_number(amount.data(), 30);
    const char* const value = amount.data();
    const int length = 8;
    benchmark::DoNotOptimize(number(run("pay", 1, &value, &length)));
  }
};

inline std::int64_t pay(postgres::transaction& t) {
  const auto made = t.execute("insert into payment (amount) values ($1) returning id", 30);
  return made.template get<std::int64_t>(0).value();
}

template <class Place>
struct our_payment {
  postgres::client db = Place::make();
  void operator()() { benchmark::DoNotOptimize(postgres::atomically(db, pay).value()); }
};

// Key, effect and answer; a new key each time.
template <class Place>
struct our_payment_once : our_payment<Place> {
  postgres::idempotency_store<std::int64_t> payments{this->db, "payments"};
  const interlock::fingerprint request = interlock::fingerprint_of(std::string("30 for a book"));
  const std::string session = store::unique_id::fresh().text();
  int last = 0;
  void operator()() {
    const std::string key = session + std::to_string(++last);
    benchmark::DoNotOptimize(
        postgres::run_in_transaction(this->db, payments, key, request, pay).value());
  }
};

template <class Place>
void add_payments(const std::string& job) {
  bench::match(job, "libpq, the INSERT alone")
      .template enter<raw_payment<Place>>("libpq, the INSERT alone")
      .template enter<our_payment<Place>>("interlock::postgres::atomically")
      .template enter<our_payment_once<Place>>("interlock::postgres::run_in_transaction");
}

const bench::contenders here([] {
  bench::match("engines/postgres counter add", "libpq")
      .enter<raw_add>("libpq")
      .enter<our_add<place>>("interlock::postgres::counter")
      .enter<our_add_once<place>>("interlock::postgres::counter, operation ids")
      .enter<raw_update>("libpq, the row is there");
  bench::callers("engines/postgres counter add of many, durable")
      .enter<our_add_of_many<durable_place>>("interlock::postgres::counter")
      .enter<our_combined_add<durable_place>>("interlock::postgres::counter, combined");
  add_payments<durable_place>("engines/postgres payment, durable");
  add_payments<place>("engines/postgres payment");
  bench::match("engines/postgres counter load", "libpq")
      .enter<raw_load>("libpq")
      .enter<our_load<place>>("interlock::postgres::counter");
  bench::match("engines/postgres cell store", "libpq")
      .enter<raw_store>("libpq")
      .enter<our_store<place>>("interlock::postgres::versioned");
});

}  // namespace
}  // namespace engines
