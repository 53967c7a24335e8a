// SPDX-License-Identifier: BSL-1.0
// A file of SQLite's, in WAL mode. NORMAL leaves out the flush of the disk, so that what the client
// adds can be seen; durable jobs are FULL. A raw contender does what a careful program does by
// hand: prepared statements, one immediate transaction for what belongs together.

#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/versioned.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <sqlite3.h>

#include <array>
#include <stdexcept>
#include <string>

#include "engines/jobs.hpp"

namespace engines {
namespace {

namespace sqlite = interlock::sqlite;

std::string file_named(const char* name) {
  static const interlock::testing::temporary_folder folder;
  return folder.path() + "/" + name;
}

struct fast_file {
  static sqlite::client make() {
    return sqlite::client(file_named("ours.db"), {}, {.synchronous = sqlite::synchronous::normal});
  }
};
struct durable_file {
  static sqlite::client make() { return sqlite::client(file_named("ours-durable.db")); }
};

// A connection with statements that are prepared once.
class raw_file {
public:
  raw_file(const char* file, const char* synchronous) {
    check(sqlite3_open_v2(file_named(file).c_str(), &db_,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                          nullptr));
    execute("PRAGMA journal_mode=WAL");
    execute(std::string("PRAGMA synchronous=") + synchronous);
    execute(
        "CREATE TABLE IF NOT EXISTS counter(name BLOB PRIMARY KEY NOT NULL, value INTEGER NOT "
        "NULL) STRICT, WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS cell(name BLOB PRIMARY KEY NOT NULL, version INTEGER NOT "
        "NULL, bytes BLOB) STRICT;"
        "CREATE TABLE IF NOT EXISTS last(one INTEGER PRIMARY KEY, version INTEGER NOT NULL);"
        "INSERT OR IGNORE INTO counter VALUES(CAST('hits' AS BLOB), 0);"
        "INSERT OR IGNORE INTO cell VALUES(CAST('cell' AS BLOB), 0, NULL);"
        "INSERT OR IGNORE INTO last VALUES(1, 0);");
  }
  raw_file(const raw_file&) = delete;
  raw_file& operator=(const raw_file&) = delete;
  ~raw_file() { sqlite3_close_v2(db_); }

  sqlite3_stmt* prepare(const char* text) {
    sqlite3_stmt* made = nullptr;
    check(sqlite3_prepare_v3(db_, text, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr));
    return made;
  }
  // Returns: the number in the row that it gives, or 0.
  std::int64_t run(sqlite3_stmt* statement) {
    std::int64_t number = 0;
    int code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
      number = sqlite3_column_int64(statement, 0);
    }
    if (code != SQLITE_DONE) check(code);
    sqlite3_reset(statement);
    return number;
  }

private:
  void execute(const std::string& text) {
    check(sqlite3_exec(db_, text.c_str(), nullptr, nullptr, nullptr));
  }
  void check(int code) const {
    if (code != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(db_));
  }

  sqlite3* db_ = nullptr;
};

void bind(sqlite3_stmt* statement, int place, const std::string& bytes) {
  sqlite3_bind_blob(statement, place, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
}

const std::string hits = "hits";
const std::string cell = "cell";

struct raw_add {
  raw_file db;
  sqlite3_stmt* add = db.prepare("UPDATE counter SET value=value+?2 WHERE name=?1 RETURNING value");
  explicit raw_add(const char* file = "raw.db", const char* synchronous = "NORMAL")
      : db(file, synchronous) {}
  ~raw_add() { sqlite3_finalize(add); }
  void operator()() {
    bind(add, 1, hits);
    sqlite3_bind_int64(add, 2, 1);
    benchmark::DoNotOptimize(db.run(add));
  }
};

struct raw_durable_add : raw_add {
  raw_durable_add() : raw_add("raw-durable.db", "FULL") {}
};

struct raw_load {
  raw_file db{"raw.db", "NORMAL"};
  sqlite3_stmt* load = db.prepare("SELECT value FROM counter WHERE name=?1");
  ~raw_load() { sqlite3_finalize(load); }
  void operator()() {
    bind(load, 1, hits);
    benchmark::DoNotOptimize(db.run(load));
  }
};

// A version that no other cell and no later one gets: what our cells do, by hand.
struct raw_store {
  raw_file db{"raw.db", "NORMAL"};
  std::array<sqlite3_stmt*, 4> steps{
      db.prepare("BEGIN IMMEDIATE"),
      db.prepare("UPDATE last SET version=version+1 WHERE one=1 RETURNING version"),
      db.prepare("UPDATE cell SET version=?2, bytes=?3 WHERE name=?1"), db.prepare("COMMIT")};
  ~raw_store() {
    for (sqlite3_stmt* const each : steps) sqlite3_finalize(each);
  }
  void operator()() {
    db.run(steps[0]);
    const std::int64_t version = db.run(steps[1]);
    bind(steps[2], 1, cell);
    sqlite3_bind_int64(steps[2], 2, version);
    bind(steps[2], 3, payload);
    db.run(steps[2]);
    db.run(steps[3]);
  }
};

// A version of the row alone, which is used again after the row is deleted.
struct raw_update {
  raw_file db{"raw.db", "NORMAL"};
  sqlite3_stmt* update = db.prepare("UPDATE cell SET version=version+1, bytes=?2 WHERE name=?1");
  ~raw_update() { sqlite3_finalize(update); }
  void operator()() {
    bind(update, 1, cell);
    bind(update, 2, payload);
    db.run(update);
  }
};

const bench::contenders here([] {
  bench::match("engines/sqlite counter add", "sqlite3")
      .enter<raw_add>("sqlite3")
      .enter<our_add<fast_file>>("interlock::sqlite::counter")
      .enter<our_add_once<fast_file>>("interlock::sqlite::counter, operation ids");
  bench::match("engines/sqlite counter add, durable", "sqlite3")
      .enter<raw_durable_add>("sqlite3")
      .enter<our_add<durable_file>>("interlock::sqlite::counter");
  bench::callers("engines/sqlite counter add of many, durable")
      .enter<our_add_of_many<durable_file>>("interlock::sqlite::counter")
      .enter<our_combined_add<durable_file>>("interlock::sqlite::counter, combined");
  bench::match("engines/sqlite counter load", "sqlite3")
      .enter<raw_load>("sqlite3")
      .enter<our_load<fast_file>>("interlock::sqlite::counter");
  bench::match("engines/sqlite cell store", "sqlite3, the same statements")
      .enter<raw_store>("sqlite3, the same statements")
      .enter<our_store<fast_file>>("interlock::sqlite::versioned")
      .enter<raw_update>("sqlite3, one UPDATE");
});

}  // namespace
}  // namespace engines
