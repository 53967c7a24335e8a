// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/fault.hpp - what SQLite's codes mean: which error, and what to do.
//
// A fault is thrown by statements and never leaves the client. It is in doubt only where the commit
// itself failed and SQLite cannot tell: an input/output error after the commit record may have been
// written, and in some modes of the journal a full disk. SQLite undoes all else before it says so.

#include <sqlite3.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/detail/names.hpp"
#include "../../store/error.hpp"

namespace interlock::sqlite::detail {

struct fault {
  int code = SQLITE_ERROR;  // extended
  std::string text;
  int system = 0;  // errno, if the system was asked
  bool in_doubt = false;
};

// Returns: what is wrong with the connection now.
[[nodiscard]] inline fault fault_of(sqlite3* db, int code) {
  return {code, db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code),
          db != nullptr ? sqlite3_system_errno(db) : 0, false};
}

// Returns: whether a commit that ended so was surely not done. A full disk: see connection.
[[nodiscard]] inline bool surely_undone(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_INTERRUPT:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_AUTH:
    case SQLITE_SCHEMA:
      return true;
    default:
      return false;
  }
}

struct meaning {
  store::errc code;
  const char* remedy;
};

[[nodiscard]] inline meaning meaning_of(int code, int system) noexcept {
  using store::errc;
  constexpr const char* space = "make room on the disk, or raise PRAGMA max_page_count";
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return {errc::busy,
              "end the transaction that holds the file in another program, or give the call a "
              "longer timeout"};
    case SQLITE_FULL:
      return {errc::out_of_space, space};
    case SQLITE_IOERR:
      if (system == ENOSPC || system == EDQUOT) return {errc::out_of_space, space};
      return {errc::engine_failure, "look at the disk and the file system that hold the file"};
    case SQLITE_READONLY:
      return {errc::read_only, "let this user write the file, its folder and what lies beside it"};
    case SQLITE_CANTOPEN:
      return {errc::bad_address, "give a file in a folder that exists and may be written"};
    case SQLITE_NOTADB:
      return {errc::bad_address, "give an SQLite file, or one that is not there"};
    case SQLITE_CORRUPT:
      return {errc::engine_failure, "run PRAGMA integrity_check, and restore the file"};
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {errc::access_denied, "give this user the right to use the file"};
    case SQLITE_INTERRUPT:
      return {errc::timed_out, "give the call a longer timeout"};
    case SQLITE_TOOBIG:
      return {errc::too_large, "store less than SQLite's limit of a value"};
    case SQLITE_CONSTRAINT:
      return {errc::bad_argument, "give what the table's constraints allow"};
    case SQLITE_NOMEM:
      return {errc::engine_failure, "give the process more memory"};
    default:
      return {errc::engine_failure, "look at the statement and at the tables it names"};
  }
}

// Returns: the fault as an error of this operation.
[[nodiscard]] inline store::error error_of(const fault& what, std::string_view operation,
                                           std::string_view object) {
  const meaning means = meaning_of(what.code, what.system);
  std::string detail = what.text;
  detail += " (SQLite code ";
  detail += std::to_string(what.code);
  detail += ')';
  return {means.code,        "sqlite",    std::string(operation), store::detail::printable(object),
          std::move(detail), means.remedy};
}

}  // namespace interlock::sqlite::detail
