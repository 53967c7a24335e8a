// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/session_start.hpp - how a client connects, makes its tables, learns
// what the server promises, and notices another data set.
//
// A data set is known by what was written with its tables, by the server's system identifier, and
// by its timeline, which a promoted standby and a restored backup change.

#include <string>
#include <string_view>
#include <utility>

namespace interlock::postgres::detail {

// Returns: what a connection that was not made says, as an error.
[[nodiscard]] inline error connect_fault(const connection& at, std::string_view prefix) {
  const auto make = [&](errc code, std::string detail, std::string_view remedy) -> error {
    return {code, engine, "client", std::string(prefix), std::move(detail), std::string(remedy)};
  };
  if (at.late()) {
    return make(errc::timed_out, "no connection by the deadline",
                "check that the server is there, or raise the timeout");
  }
  std::string text = at.said();
  // "... FATAL:  28P01: password authentication failed for user ..."
  const std::size_t fatal = text.find(":  ");
  if (fatal != std::string::npos && text.size() > fatal + 8 && text[fatal + 8] == ':') {
    const fault meant = fault_of(std::string_view(text).substr(fatal + 3, 5));
    return make(meant.code, std::move(text), meant.remedy);
  }
  if (PQconnectionNeedsPassword(at.get()) != 0) {
    return make(errc::access_denied, std::move(text), "give a password");
  }
  // What libpq says when target_session_attrs is not met, of any server of the address.
  const std::string_view all = PQerrorMessage(at.get());
  if (all.find("session is read-only") != std::string_view::npos ||
      all.find("server is in hot standby mode") != std::string_view::npos) {
    return make(errc::read_only, std::move(text),
                "give the address of the primary, or promote a standby; or set "
                "default_transaction_read_only to off");
  }
  if (text.find("translate host name") != std::string::npos) {
    return make(errc::bad_address, std::move(text), "name a host that exists");
  }
  return make(errc::not_connected, std::move(text),
              "check address and port, and that the server runs");
}

inline session::session(std::string address, store::client_options options, settings how)
    : address_(std::move(address)),
      options_(std::move(options)),
      how_(std::move(how)),
      schema_([this] {
        store::detail::require_none(store::detail::bad_prefix(engine, options_.prefix));
        if (options_.prefix.size() > 63) {  // PostgreSQL would cut it, and two could be one
          fail(errc::bad_argument, "a schema has a name of 63 bytes at most",
               "give a shorter prefix");
        }
        std::string quoted = "\"";
        quoted += options_.prefix;
        quoted += "\".";
        return quoted;
      }()),
      statements_(schema_),
      pool_({.engine = engine, .most = options_.connections},
            [this](const call_deadline& deadline) { return connect(deadline); }),
      threads_(options_.threads != 0 ? options_.threads : options_.connections) {
  statements_.prepare = how_.prepare;
  if (!how_.connect) {
    char* said = nullptr;
    PQconninfoOption* const parsed = PQconninfoParse(address_.c_str(), &said);
    const std::string why = first_line(said == nullptr ? "it cannot be read" : said);
    PQfreemem(said);
    PQconninfoFree(parsed);
    if (parsed == nullptr) {
      fail(errc::bad_address, why,
           "give postgresql://user@host:port/database or \"host=... dbname=...\"");
    }
  }
  begin(call_deadline(options_.timeout));
}

inline void session::fail(const reply& came, const connection& at) const {
  if (!state_of(came.rows.get()).empty()) {
    const fault meant = fault_of(state_of(came.rows.get()));
    fail(meant.code, said_in(came.rows.get()), meant.remedy);
  }
  fail(at.late() ? errc::timed_out : errc::not_connected, at.said(), "try again");
}

inline std::unique_ptr<connection> session::open(const call_deadline& deadline) {
  std::unique_ptr<connection> made = how_.connect ? std::make_unique<connection>(how_.connect())
                                                  : connection::open(address_, deadline);
  if (made->broken() || made->late()) {
    throw store::failure(connect_fault(*made, options_.prefix));
  }
  if (PQserverVersion(made->get()) < 120000) {
    fail(errc::engine_failure, "the server is older than PostgreSQL 12", "use 12 or newer");
  }
  return made;
}

// Effects: sets the session up. Returns: its data set; none, if there are no tables.
inline std::optional<std::string> session::data_set_of(connection& at,
                                                       const call_deadline& deadline) {
  std::string sql;
  if (how_.prepare) {  // else the next statement may be on another connection
    sql = "set session characteristics as transaction isolation level read committed; ";
    sql += "set client_min_messages = warning; ";  // one tells that a commit is here alone
    if (PQserverVersion(at.get()) >= 140000) {     // who left waits for no lock, where that is seen
      sql +=
          "do $$ begin set client_connection_check_interval = '1s'; exception when others then "
          "null; end $$; ";
    }
  }
  sql +=
      "select m.version, m.incarnation || '/' || s.system_identifier || '/' || case when r then "
      "'' else substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) end, r from ";
  sql += schema_;
  sql += "meta m, pg_control_system() s, pg_is_in_recovery() r";
  const reply came = at.run(sql.c_str(), deadline);
  if (came.what == fate::failed) {
    const std::string_view state = state_of(came.rows.get());
    if (state == "42P01" || state == "3F000") return std::nullopt;
  }
  if (came.what != fate::answered) fail(came, at);
  if (PQntuples(came.rows.get()) == 0) return std::nullopt;
  if (bytes_in(came.rows, 0, 2) == "t") {
    fail(errc::read_only, "the server is a standby",
         "connect to the primary: add target_session_attrs=read-write");
  }
  const std::string_view version = bytes_in(came.rows, 0, 0);
  if (version != store::codec<std::int64_t>::encode(schema_version)) {
    std::string text = "the tables are of version ";
    text += version;
    text += ", this program reads version ";
    text += std::to_string(schema_version);
    fail(errc::wrong_schema, text, "use a program as new as the tables, or another prefix");
  }
  return std::string(bytes_in(came.rows, 0, 1));
}

inline void session::make_tables(connection& at, const call_deadline& deadline) {
  const reply standby = at.run("select pg_is_in_recovery()", deadline);
  if (standby.what != fate::answered) fail(standby, at);
  if (bytes_in(standby.rows, 0, 0) == "t") {
    fail(errc::read_only, "the server is a standby",
         "connect to the primary: add target_session_attrs=read-write");
  }
  std::string sql =
      "begin; set local client_min_messages = warning; "
      "select pg_advisory_xact_lock(hashtextextended('interlock ";
  sql += options_.prefix;  // letters, digits, '_' and '-'
  sql += "', 0)); ";
  // Not `create schema if not exists`: that asks for the right to, where the schema is there.
  sql += "do $$ begin if not exists (select 1 from pg_namespace where nspname = '";
  sql += options_.prefix;
  sql += "') then create schema \"";
  sql += options_.prefix;
  sql += "\"; end if; end $$; ";
  sql += with_schema(schema_tables, schema_);
  sql += with_schema(schema_functions, schema_);
  sql += "insert into ";
  sql += schema_;
  sql += "meta (version, incarnation) values (";
  sql += std::to_string(schema_version);
  sql += ", '";
  sql += unique_id::fresh().text();
  sql += "') on conflict do nothing; commit";
  const reply came = at.run(sql.c_str(), deadline);
  if (came.what != fate::answered) fail(came, at);
}

// Effects: connects, and knows the data set that is there from now on.
inline void session::begin(const call_deadline& deadline) {
  const std::unique_ptr<connection> at = open(deadline);
  std::optional<std::string> found = data_set_of(*at, deadline);
  if (!found) {
    make_tables(*at, deadline);
    found = data_set_of(*at, deadline);
    if (!found) fail(errc::engine_failure, "the tables are not there", "try again");
  }
  const reply settings_row = at->run(probe_sql, deadline);
  if (settings_row.what != fate::answered) fail(settings_row, *at);
  const char* const version = PQparameterStatus(at->get(), "server_version");
  std::string server = "PostgreSQL ";
  server += std::string_view(version).substr(0, std::string_view(version).find(' '));
  store::probed_guarantees probed = probed_in(settings_row.rows, std::move(server));
  if (options_.require && !probed.promised.cover(*options_.require)) {
    const auto in_the_way = probed.in_the_way_of(*options_.require);
    std::string text = in_the_way ? in_the_way->name : std::string("PostgreSQL");
    if (in_the_way) {
      text += " is '";
      text += in_the_way->value;
      text += "': ";
      text += in_the_way->limits;
    } else {
      text += " cannot promise this";
    }
    fail(errc::guarantee_not_met, text, in_the_way ? in_the_way->remedy : "require less");
  }
  const std::lock_guard lock(mutex_);
  incarnation_ = *std::move(found);
  probed_ = std::move(probed);
}

inline pool::made session::connect(const call_deadline& deadline) {
  try {
    std::unique_ptr<connection> at = open(deadline);
    const std::optional<std::string> found = data_set_of(*at, deadline);
    const std::lock_guard lock(mutex_);
    if (found == incarnation_) return at;
    return error{errc::history_lost,
                 engine,
                 "client",
                 options_.prefix,
                 found ? "the data set is another one than before" : "the tables are gone",
                 "check what the program relies on, then accept_history()"};
  } catch (const store::failure& what) {
    return what.error();
  }
}

inline void session::prune(connection& at, const call_deadline& deadline) {
  if (!at.time_to_prune()) return;
  for (const statement s :
       {statement::prune_operations, statement::prune_idempotency, statement::prune_keys}) {
    auto most = std::min(options_.retention, std::chrono::milliseconds(std::int64_t{1} << 43U));
    if (s == statement::prune_operations) most += most / 4;
    parameters age;
    age.time(most);
    if (at.run(statements_, static_cast<std::size_t>(s), age, deadline).what != fate::answered) {
      return;
    }
  }
}

}  // namespace interlock::postgres::detail
