// SPDX-License-Identifier: BSL-1.0
// What a file promises under which settings, and that no more is promised.

#include <interlock/sqlite/client.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <sqlite3.h>

#include <array>
#include <string>

#include "support/catch.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using interlock::testing::temporary_folder;
using sqlite::journal;
using sqlite::synchronous;
using store::durability;

namespace {

struct expectation {
  sqlite::journal mode;
  std::array<durability, 4> by_synchronous;  // off, normal, full, extra
};

// Returns: what the file system of the test lets be promised.
durability most(const store::probed_guarantees& found) {
  for (const store::setting& each : found.settings) {
    if (each.name == "file system") return each.with.keeps;
  }
  return durability::none;
}

store::guarantees needs(durability keeps) {
  return {.keeps = keeps};
}

}  // namespace

TEST_CASE("What the settings of a file take away is not promised by its client") {
  constexpr durability no = durability::none;
  constexpr durability crash = durability::process_crash;
  constexpr durability power = durability::power_loss;
  const std::array matrix{
      expectation{journal::wal, {crash, crash, power, power}},
      expectation{journal::truncate, {crash, crash, power, power}},
      expectation{journal::persist, {crash, crash, power, power}},
      expectation{journal::remove, {crash, crash, crash, power}},
      expectation{journal::memory, {no, no, no, no}},
      expectation{journal::off, {no, no, no, no}},
  };
  for (const expectation& row : matrix) {
    for (std::size_t level = 0; level < 4; ++level) {
      const temporary_folder place;
      const std::string file = place.path() + "/data.db";
      const sqlite::settings how{.journal = row.mode,
                                 .synchronous = static_cast<synchronous>(level)};
      const store::probed_guarantees found = sqlite::client(file, {}, how).probed();
      CAPTURE(found.settings[0].value, found.settings[1].value);
      const durability wanted = std::min(row.by_synchronous[level], most(found));
      CHECK(found.promised.keeps == wanted);
      CHECK(found.promised.seen_by == store::visibility::host);
      if (wanted == durability::power_loss) {
        CHECK_NOTHROW(sqlite::client(file, {.require = needs(power)}, how));
        continue;
      }
      try {
        sqlite::client(file, {.require = needs(power)}, how);
        FAIL("it was not refused");
      } catch (const store::failure& why) {
        CHECK(why.error().code == store::errc::guarantee_not_met);
        CHECK(why.error().object == file);
        CHECK(why.error().remedy.find("PRAGMA ") != std::string::npos);
        CHECK(why.error().detail.find("PRAGMA ") != std::string::npos);
      }
    }
  }
}

TEST_CASE("A client that takes a file as found says what it found") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  for (const char* const mode : {"DELETE", "WAL"}) {
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &raw) == SQLITE_OK);
    const std::string pragma = std::string("PRAGMA journal_mode=") + mode;
    REQUIRE(sqlite3_exec(raw, pragma.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(raw);
    const sqlite::client db(file, {}, {.journal = journal::as_found});
    const bool wal = std::string(mode) == "WAL";
    CHECK(db.probed().settings[0].value == (wal ? "wal" : "delete"));
    CHECK(db.probed().promised.keeps ==
          std::min(wal ? durability::power_loss : durability::process_crash, most(db.probed())));
  }
}

TEST_CASE("Data in memory is promised to nobody else, and to last no longer than its client") {
  const sqlite::client db(":memory:");
  CHECK(db.probed().promised.seen_by == store::visibility::process);
  CHECK(db.probed().promised.keeps == durability::none);
  CHECK_THROWS_AS(sqlite::client(":memory:", {.require = needs(durability::process_crash)}),
                  store::failure);
}

TEST_CASE("SQLite does not promise to survive the loss of its machine") {
  const temporary_folder place;
  try {
    const sqlite::client db(place.path() + "/data.db", {.require = needs(durability::failover)});
    FAIL("it was not refused");
  } catch (const store::failure& why) {
    CHECK(why.error().code == store::errc::guarantee_not_met);
    CHECK(why.error().remedy != "");
  }
}
