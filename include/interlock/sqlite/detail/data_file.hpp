// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/data_file.hpp - how a connection to the file comes about: its settings,
// and the tables of this library, which the first one makes.

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "../../store/detail/names.hpp"
#include "../settings.hpp"
#include "connection.hpp"
#include "probe.hpp"
#include "schema.hpp"
#include "scopes.hpp"

namespace interlock::sqlite::detail {

inline constexpr const char* remedy_after_fork =
    "close SQLite clients before fork(), or exec a program in the child";

class data_file {
public:
  // Throws: store::failure for an address or a prefix that cannot be one, or for an SQLite that is
  //         too old.
  data_file(std::string address, std::string prefix, settings how);

  struct opened {
    std::unique_ptr<detail::connection> connection;
    std::string incarnation;
    bool in_memory = false;
  };
  // Throws: store::failure.
  [[nodiscard]] opened open(const call_deadline& deadline, bool create) const;

  [[nodiscard]] const settings& how() const noexcept { return how_; }
  [[noreturn]] void fail(store::errc code, std::string detail, std::string remedy) const {
    throw store::failure(
        {code, "sqlite", "client", address_, std::move(detail), std::move(remedy)});
  }

private:
  bool set_up(connection& on) const;  // returns whether it is in memory
  std::string find_or_create(connection& on) const;

  std::string address_;
  std::string prefix_;
  settings how_;
  sql_texts texts_;
};

inline data_file::data_file(std::string address, std::string prefix, settings how)
    : address_(std::move(address)),
      prefix_(std::move(prefix)),
      how_(std::move(how)),
      texts_(prefix_) {
  using store::errc;
  store::detail::require_none(store::detail::bad_prefix("sqlite", prefix_));
  if (address_.empty() || address_.find('\0') != std::string::npos) {
    fail(errc::bad_address, "this is no path", "give a path, a file: URI, or :memory:");
  }
  if (sqlite3_libversion_number() < 3037000 || sqlite3_threadsafe() == 0) {
    std::string detail = "this program runs with SQLite ";
    detail += sqlite3_libversion();
    fail(errc::engine_failure, std::move(detail), "link SQLite 3.37 or newer, built for threads");
  }
}

inline data_file::opened data_file::open(const call_deadline& deadline, bool create) const {
  const int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
  try {
    auto made = std::make_unique<connection>(address_, flags, texts_, deadline);
    made->looked = deadline.begun();
    const bool memory = set_up(*made);
    std::string incarnation = find_or_create(*made);
    return {std::move(made), std::move(incarnation), memory};
  } catch (const file_of_parent&) {
    fail(store::errc::not_connected, "the parent has this file open with SQLite",
         remedy_after_fork);
  } catch (const fault& why) {
    store::error said = error_of(why, "client", {});
    said.object = address_;
    if (!create && (why.code & 0xff) == SQLITE_CANTOPEN) {
      said.code = store::errc::not_connected;
      said.remedy = "put the file back, or call accept_history() to begin another";
    }
    throw store::failure(std::move(said));
  }
}

inline bool data_file::set_up(connection& on) const {
  static constexpr std::array modes{"", "WAL", "TRUNCATE", "PERSIST", "DELETE", "MEMORY", "OFF"};
  static constexpr std::array levels{"OFF", "NORMAL", "FULL", "EXTRA"};
  const std::string found = asked(on, "PRAGMA journal_mode");
  const char* const name = sqlite3_db_filename(on.raw(), "main");
  const bool memory = name == nullptr || *name == '\0' || found == "memory";
  std::string wanted = "PRAGMA synchronous=";
  wanted += levels[static_cast<std::size_t>(how_.synchronous)];
  on.execute(wanted);
  on.flushes = !memory && how_.synchronous >= synchronous::full;
  if (!how_.on_connect.empty()) {
    on.execute(how_.on_connect);
    on.handle_busy();
  }
  if (memory || how_.journal == journal::as_found) return memory;
  if (sqlite3_db_readonly(on.raw(), "main") == 1) return false;
  wanted = "PRAGMA journal_mode=";
  wanted += modes[static_cast<std::size_t>(how_.journal)];
  for (;;) {  // who changes the mode is not given to the busy handler
    try {
      static_cast<void>(asked(on, wanted));
      return false;
    } catch (const fault& why) {
      if ((why.code & 0xff) != SQLITE_BUSY || !on.pause()) throw;
    }
  }
}

inline std::string data_file::find_or_create(connection& on) const {
  const auto there = [&on] { return statement(on, sql::meta_exists).row(); };
  if (!there()) {
    transaction_scope transaction(on);
    if (!there()) on.execute(texts_.create());
    transaction.commit();
  }
  std::int64_t version = 0;
  std::string incarnation;
  try {
    statement meta(on, sql::meta_load);
    if (meta.row()) {
      version = meta.integer(0);
      incarnation = meta.bytes(1);
    }
  } catch (const fault& why) {
    if ((why.code & 0xff) != SQLITE_ERROR) throw;  // a table of that name without our columns
  }
  if (version == schema_version) return incarnation;
  std::string detail = "the tables of prefix '";
  detail += prefix_;
  detail += version == 0 ? "' are not of this library" : "' have the schema version ";
  if (version != 0) detail += std::to_string(version);
  fail(store::errc::wrong_schema, std::move(detail),
       "use a newer version of this library, or another prefix");
}

}  // namespace interlock::sqlite::detail
