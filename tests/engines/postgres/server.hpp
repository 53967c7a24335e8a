// SPDX-License-Identifier: BSL-1.0
#pragma once

// A PostgreSQL for the tests of one program, and a person who has a connection of his own to it.

#include <interlock/postgres/client.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include "support/catch.hpp"
#include "support/eventually.hpp"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace postgres = interlock::postgres;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::fingerprint;
using interlock::testing::throwaway_postgres;
using store::errc;
using store::object_kind;
using store::operation_id;
using store::unique_id;

// One for the program; ends it with 77 where there are none.
inline throwaway_postgres& server() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    std::exit(77);
  }
  static throwaway_postgres instance({.fsync = false});
  return instance;
}

// A prefix that no other test uses.
inline std::string fresh_prefix() {
  return "t_" + unique_id::fresh().text().substr(0, 12);
}

inline postgres::client fresh_client(store::client_options options = {},
                                     postgres::settings how = {}) {
  if (options.prefix == "interlock") options.prefix = fresh_prefix();
  return postgres::client(server().conninfo(), std::move(options), std::move(how));
}

// Somebody else's connection, in plain SQL.
class person {
public:
  explicit person(const std::string& conninfo = server().conninfo())
      : pg_(PQconnectdb(conninfo.c_str())) {
    PQsetNoticeProcessor(
        pg_, [](void*, const char*) {}, nullptr);
  }
  ~person() { PQfinish(pg_); }
  person(const person&) = delete;
  person& operator=(const person&) = delete;

  // Returns: the first field of the first row, "" if there is none, or "SQLSTATE 42601".
  std::string say(const std::string& sql) {
    PGresult* const came = PQexec(pg_, sql.c_str());
    std::string text;
    if (const char* const state = PQresultErrorField(came, PG_DIAG_SQLSTATE)) {
      text = "SQLSTATE ";
      text += state;
    } else if (PQntuples(came) > 0) {
      text = PQgetvalue(came, 0, 0);
    }
    PQclear(came);
    return text;
  }

private:
  PGconn* pg_;
};

// Returns: whether somebody comes to wait for a row or another lock.
inline bool somebody_waits(person& by, const std::string& count = "1") {
  return support::eventually([&] {
    return by.say("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == count;
  });
}
