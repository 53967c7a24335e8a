// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/faults.hpp - what a SQLSTATE means for the caller, and the remedy.

#include <libpq-fe.h>

#include <string>
#include <string_view>

#include "../../store/error.hpp"

namespace interlock::postgres::detail {

struct fault {
  store::errc code = store::errc::engine_failure;
  const char* remedy = "see the log of the server";
  bool again = false;   // it was rolled back since others were in the way: try again
  bool broken = false;  // the connection is not to be used any more
};

// Returns: whether a statement named a table, a schema or a function that is not there.
[[nodiscard]] inline bool is_missing(std::string_view state) noexcept {
  return state == "42P01" || state == "3F000" || state == "42883";
}

// Returns: whether it is the mistake of whoever wrote the statement, which is not of the library's.
[[nodiscard]] inline bool is_mistake(std::string_view state) noexcept {
  const std::string_view family = state.substr(0, 2);
  if (state == "42501") return false;  // a permission
  return family == "42" || family == "22" || family == "0A" || family == "26" || family == "34" ||
         family == "3B" || state == "25001" || is_missing(state);
}

// Returns: what an error of the server means; it was not done.
[[nodiscard]] inline fault fault_of(std::string_view state) noexcept {
  using store::errc;
  const std::string_view family = state.substr(0, 2);
  if (state == "40001" || state == "40P01") {
    return {errc::too_many_conflicts, "try again later, or touch fewer objects at once", true};
  }
  if (state == "55P03") return {errc::busy, "others hold a lock; raise lock_timeout", true};
  if (state == "57014") {
    return {errc::killed, "the query was cancelled, or took longer than statement_timeout"};
  }
  if (state == "57P03") {
    return {errc::busy, "the server is starting or stopping: try again", false, true};
  }
  if (family == "57" || family == "08") {
    return {errc::not_connected, "the server ended the connection: try again", true, true};
  }
  if (state == "25006") {
    return {errc::read_only,
            "connect to the primary: add target_session_attrs=read-write, or set "
            "default_transaction_read_only to off"};
  }
  if (state == "25P03" || state == "25P04") {
    return {errc::killed,
            "nothing was done; shorten the body, or raise idle_in_transaction_session_timeout or "
            "transaction_timeout"};
  }
  if (state == "22003") return {errc::bad_argument, "the sum does not fit 64 bits"};
  if (state == "53300") {
    return {errc::overloaded, "raise max_connections, or lower client_options::connections", false,
            true};
  }
  if (family == "53") return {errc::out_of_space, "make room on the server, or raise its limit"};
  if (family == "54") return {errc::too_large, "store less"};
  if (family == "28" || state == "42501") {
    return {errc::access_denied, "check user and password, and grant what the schema needs"};
  }
  if (state == "3D000") return {errc::bad_address, "name a database that exists"};
  if (is_missing(state)) {
    return {errc::history_lost, "the tables are gone: call accept_history() to begin anew", false,
            true};
  }
  if (state == "26000" || state == "42P05" || state == "0A000") {
    return {errc::engine_failure, "behind a pooler, set settings::prepare to false", false, true};
  }
  if (family == "58" || family == "XX") {
    return {errc::engine_failure, "see the log of the server", false, true};
  }
  return {};
}

// Returns: the SQLSTATE of a result, or "".
[[nodiscard]] inline std::string_view state_of(const PGresult* failed) noexcept {
  const char* const state = PQresultErrorField(failed, PG_DIAG_SQLSTATE);
  return state == nullptr ? std::string_view() : std::string_view(state);
}

// Returns: whether this error ends the connection: what was asked for may have been done. A pooler
//          that lost its server says so by class 08.
[[nodiscard]] inline bool ends_connection(const PGresult* failed) noexcept {
  const std::string_view state = state_of(failed);
  const std::string_view family = state.substr(0, 2);
  if (family == "08" || (family == "57" && state != "57014")) return true;
  const char* said = PQresultErrorField(failed, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (said == nullptr) said = PQresultErrorField(failed, PG_DIAG_SEVERITY);
  const std::string_view severity = said == nullptr ? std::string_view() : std::string_view(said);
  return severity == "FATAL" || severity == "PANIC";
}
// Returns: whether one of those comes in the place of what was asked for, or of its end: the
//          server lets nobody in, or ends a session that has not committed.
[[nodiscard]] inline bool comes_instead(std::string_view state) noexcept {
  const std::string_view family = state.substr(0, 2);
  return family == "57" || family == "25" || family == "28" || family == "3D" || state == "53300";
}

// Returns: the first line of what libpq or the server said.
[[nodiscard]] inline std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

// Returns: what the server said in this result, with its detail.
[[nodiscard]] inline std::string said_in(const PGresult* failed) {
  const char* const primary = PQresultErrorField(failed, PG_DIAG_MESSAGE_PRIMARY);
  if (primary == nullptr) return first_line(PQresultErrorMessage(failed));
  std::string text = primary;
  if (const char* const more = PQresultErrorField(failed, PG_DIAG_MESSAGE_DETAIL)) {
    text += ": ";
    text += more;
  }
  text += " (SQLSTATE ";
  text += state_of(failed);
  text += ')';
  return text;
}

}  // namespace interlock::postgres::detail
