// SPDX-License-Identifier: BSL-1.0

// The stories on SQLite: in a file.

#include <sqlite3.h>
#include <interlock/sqlite/client.hpp>
#include <interlock/sqlite/run_in_transaction.hpp>
#include <interlock/sqlite/transaction.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "stories.hpp"
#include "types.hpp"

namespace lab {

namespace {

// Effects: calls row(text of the first column) for each row.
template <class Row>
void ask(sqlite3* db, const std::string& sql, Row row) {
  sqlite3_stmt* asked = nullptr;
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &asked, nullptr) != SQLITE_OK) return;
  while (sqlite3_step(asked) == SQLITE_ROW) {
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(asked, 0));
    row(std::string(static_cast<const char*>(sqlite3_column_blob(asked, 0)), size));
  }
  sqlite3_finalize(asked);
}

struct on_sqlite : engine_types<interlock::sqlite::client> {
  static constexpr const char* name = "sqlite";
  static constexpr const char* package = "libsqlite3-dev";
  static constexpr const char* library = "libsqlite3-dev";
  static constexpr bool sql = true;
  static bool installed() { return true; }
  // Who is stopped while he writes holds the file, and nobody gets a lock before he goes on.
  static constexpr bool renewed = false;

  using transaction = interlock::sqlite::transaction;
  template <class Body>
  static auto atomically(client& on, Body&& body) {
    return interlock::sqlite::atomically(on, std::forward<Body>(body));
  }
  template <class Store, class Body>
  static auto run_in_transaction(client& on, const Store& in, const std::string& key, Body&& body) {
    return interlock::sqlite::run_in_transaction(on, in, key, interlock::fingerprint{},
                                                 std::forward<Body>(body));
  }

  class throwaway {
  public:
    [[nodiscard]] std::string url() const { return place_.path() + "/lab.db"; }

  private:
    interlock::testing::temporary_folder place_;
  };

  // Leaves a file of the user's as it was: without the prefix' tables, or not there at all.
  class guest {
  public:
    guest(std::string url, std::string prefix)
        : url_(std::move(url)), prefix_(std::move(prefix)), was_there_(exists()) {}
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;
    ~guest() {
      sqlite3* db = nullptr;
      const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI;
      std::size_t others = 0;
      if (sqlite3_open_v2(url_.c_str(), &db, flags, nullptr) == SQLITE_OK) {
        sqlite3_busy_timeout(db, 2000);
        others = drop_tables(db);
      }
      sqlite3_close(db);
      std::error_code ignored;
      if (!was_there_ && others == 0) std::filesystem::remove(url_, ignored);
    }

  private:
    [[nodiscard]] bool exists() const {
      std::error_code ignored;
      return std::filesystem::exists(url_, ignored);
    }
    // Returns: how many tables are not the prefix'.
    std::size_t drop_tables(sqlite3* db) const {
      std::vector<std::string> ours;
      std::size_t others = 0;
      ask(db, "SELECT name FROM sqlite_master WHERE type='table'", [&](std::string table) {
        if (table.rfind(prefix_ + "_", 0) == 0) {
          ours.push_back(std::move(table));
        } else {
          ++others;
        }
      });
      for (const std::string& table : ours) ask(db, "DROP TABLE \"" + table + "\"", [](auto&&) {});
      return others;
    }

    const std::string url_;
    const std::string prefix_;
    const bool was_there_;
  };
};

}  // namespace

engine sqlite_engine() {
  return engine_of<on_sqlite>();
}

}  // namespace lab
