// SPDX-License-Identifier: BSL-1.0
// Several processes on one file, and what is left of those that are killed.

#include <interlock/sqlite/bounded_counter.hpp>
#include <interlock/sqlite/client.hpp>
#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/versioned.hpp>
#include <interlock/store/combining_counter.hpp>
#include <interlock/task.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "engines/sqlite/children.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using interlock::testing::temporary_folder;
using support::child_process;
using support::eventually;
using support::shared_with_children;

namespace {

const store::client_options patient{.timeout = std::chrono::seconds(20)};
const sqlite::settings quick{.synchronous = sqlite::synchronous::normal};

sqlite::client::object hits_of(sqlite::client& db) {
  return db.object_named(store::object_kind::counter, "hits");
}
std::int64_t hits_in(const std::string& file) {
  sqlite::client db(file, patient, quick);
  return db.counter_load(hits_of(db), {}).value();
}

struct tally {
  std::atomic<std::int64_t> asked{0};
  std::atomic<std::int64_t> acknowledged{0};
  store::operation_id last{};  // of the request under way
};

// Effects: runs `write` in a process that is killed after some 200 acknowledged writes.
template <class F>
void write_until_killed(tally& seen, F write) {
  child_process child([&] { write(seen); });
  const bool wrote = eventually([&] { return seen.acknowledged.load() >= 200; });
  child.kill();
  REQUIRE(wrote);
}

// The naive form: many writes in a transaction, each acknowledged at once.
void acknowledge_before_commit(const std::string& file, tally& seen) {
  sqlite3* db = nullptr;
  sqlite3_open(file.c_str(), &db);
  for (;;) {
    sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
    for (int i = 0; i < 500; ++i) {
      ++seen.asked;
      sqlite3_exec(db, "UPDATE interlock_counter SET value=value+1", nullptr, nullptr, nullptr);
      ++seen.acknowledged;
    }
    sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
  }
}

}  // namespace

TEST_CASE("A writer that is killed loses no acknowledged write of SQLite") {
  for (int round = 0; round < 5; ++round) {
    const temporary_folder place;
    const std::string file = place.path() + "/hits.db";
    const shared_with_children<tally> seen;
    write_until_killed(*seen, [&](tally& count) {
      sqlite::client db(file, patient, quick);
      const auto hits = hits_of(db);
      for (;;) {
        ++count.asked;
        db.counter_add(hits, 1, {}).value();
        ++count.acknowledged;
      }
    });
    const std::int64_t left = hits_in(file);
    CHECK(seen->acknowledged.load() <= left);
    CHECK(left <= seen->asked.load());
  }
  SECTION("but one that acknowledges before it commits does") {
    std::int64_t lost = 0;
    for (int round = 0; round < 5; ++round) {
      const temporary_folder place;
      const std::string file = place.path() + "/hits.db";
      {
        sqlite::client db(file, patient, quick);
        db.counter_add(hits_of(db), 0, {}).value();
      }
      const shared_with_children<tally> seen;
      write_until_killed(*seen, [&](tally& count) { acknowledge_before_commit(file, count); });
      lost += seen->acknowledged.load() - hits_in(file);
    }
    CHECK(lost > 0);
  }
}

TEST_CASE("What a killed writer asked last is done once, if it is asked again under its id") {
  for (int round = 0; round < 5; ++round) {
    const temporary_folder place;
    const std::string file = place.path() + "/hits.db";
    const shared_with_children<tally> seen;
    write_until_killed(*seen, [&](tally& count) {
      sqlite::client db(file, patient, quick);
      const auto hits = hits_of(db);
      store::operation_session session;
      for (;;) {
        count.last = session.next();
        ++count.asked;
        db.counter_add(hits, 1, {.id = count.last}).value();
        ++count.acknowledged;
      }
    });
    sqlite::client db(file, patient, quick);
    const auto hits = hits_of(db);
    const store::operation_id last = seen->last;
    const auto wanted = static_cast<std::int64_t>(last.sequence);
    CHECK(db.counter_add(hits, 1, {.id = last}).value() == wanted);
    CHECK(db.counter_add(hits, 1, {.id = last}).value() == wanted);
    CHECK(db.counter_load(hits, {}).value() == wanted);
  }
}

TEST_CASE("Two processes on one SQLite file lose no update of one another") {
  const temporary_folder place;
  const std::string file = place.path() + "/hits.db";
  constexpr int rounds = 400;
  const auto both = [&](auto count) {
    const shared_with_children<std::atomic<int>> there;
    const auto meet = [&](int times) {  // both have come here so often
      ++*there;
      if (!eventually([&] { return there->load() >= 2 * times; })) throw store::failure({});
    };
    const auto run = [&] {
      sqlite::client db(file, patient, quick);
      meet(1);
      count(db, hits_of(db), meet);
    };
    child_process one(run);
    child_process other(run);
    const bool well = one.ended_well();
    CHECK((other.ended_well() && well));
  };
  both([](sqlite::client& db, const auto& hits, auto&) {
    for (int i = 0; i < rounds; ++i) db.counter_add(hits, 1, {}).value();
  });
  CHECK(hits_in(file) == 2 * rounds);
  SECTION("but a load and a store of each do") {
    both([](sqlite::client& db, const auto& hits, auto& meet) {
      const std::int64_t now = db.counter_load(hits, {}).value();
      meet(2);
      db.counter_exchange(hits, now + 1, {}).value();
    });
    CHECK(hits_in(file) == 2 * rounds + 1);
  }
}

TEST_CASE("A bounded counter of SQLite stays within its bounds however many processes use it") {
  const temporary_folder place;
  const std::string file = place.path() + "/shop.db";
  const shared_with_children<std::atomic<int>> sold;
  const auto sell = [&] {
    sqlite::client db(file, patient, quick);
    const sqlite::bounded_counter stock(db, "stock", {.value = 300, .low = 0, .high = 300});
    for (;;) {
      const auto left = stock.try_sub(1);
      if (left.conflicted() && left.conflict().value == 0) return;
      left.value();
      ++*sold;
    }
  };
  child_process one(sell);
  child_process other(sell);
  const bool well = one.ended_well();
  CHECK((other.ended_well() && well));
  CHECK(sold->load() == 300);
}

TEST_CASE("Updates of one SQLite cell by two processes are both made") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  constexpr int rounds = 200;
  const auto change = [&] {
    sqlite::client db(file, patient, quick);
    const sqlite::versioned<int> cell(db, "cell");
    for (int i = 0; i < rounds; ++i) cell.update([](int& n) { ++n; }).value();
  };
  child_process one(change);
  child_process other(change);
  const bool well = one.ended_well();
  CHECK((other.ended_well() && well));
  sqlite::client db(file, patient, quick);
  CHECK(sqlite::versioned<int>(db, "cell").load().value().value == 2 * rounds);
}

TEST_CASE(
    "A version of an SQLite cell is not given again after the cell was erased or the file was "
    "opened anew") {
  const temporary_folder place;
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    sqlite::client db(place.path() + "/data.db", patient, quick);
    const sqlite::versioned<int> cell(db, "cell");
    const std::uint64_t stored = cell.store(1).value();
    const std::uint64_t erased = cell.erase().value();
    CHECK(last < stored);
    CHECK(stored < erased);
    CHECK(cell.compare_and_set(stored, 2).conflicted());
    last = sqlite::versioned<int>(db, "other").store(1).value();
    CHECK(erased < last);
  }
}

TEST_CASE("A child of fork is refused the SQLite client of its parent, which goes on") {
  const temporary_folder place;
  sqlite::client db(place.path() + "/hits.db", patient, quick);
  const auto hits = hits_of(db);
  db.counter_add(hits, 1, {}).value();
  db.counter_load(hits, {}).value();
  child_process child([&] {
    const auto add = db.counter_add(hits, 1, {});
    const auto load = db.counter_load(hits, {});
    if (!add.refused() || !load.refused()) throw store::failure({});
    int accepted = 0;
    try {
      db.accept_history();
      ++accepted;
    } catch (const store::failure&) {
    }
    std::atomic<bool> ran{false};
    db.offload([&ran] { ran = true; });
    db.close();
    if (accepted != 0 || !eventually([&] { return ran.load(); })) throw store::failure({});
  });
  CHECK(child.ended_well());
  CHECK(db.counter_add(hits, 1, {}).value() == 2);
}

TEST_CASE("What is awaited in a child of fork of its parent's SQLite client is refused there") {
  const temporary_folder place;
  std::optional<sqlite::client> db(std::in_place, place.path() + "/hits.db", patient, quick);
  const sqlite::counter hits(*db, "hits");
  const store::combining_counter combined(hits);
  const auto refused = [](const store::outcome<std::int64_t>& heard) {
    return heard.refused() && heard.error().code == store::errc::not_connected;
  };
  const auto both = [&]() -> interlock::task<bool> {
    const auto together = co_await combined.async_add(1);
    const auto alone = co_await hits.async_add(1);
    co_return refused(together) && refused(alone);
  };
  child_process child([&] {
    ::alarm(60);  // it ends
    if (!interlock::sync_wait(both())) throw store::failure({});
  });
  CHECK(child.ended_well());
  const auto count = [&]() -> interlock::task<std::int64_t> {
    const auto together = co_await combined.async_add(1);
    co_return together.value();
  };
  CHECK(interlock::sync_wait(count()) == 1);
}

TEST_CASE("A child of fork ends its copy of a client that has threads in the parent") {
  const temporary_folder place;
  std::optional<sqlite::client> db(std::in_place, place.path() + "/hits.db", patient, quick);
  std::atomic<int> ran{0};
  db->offload([&ran] { ++ran; });
  REQUIRE(eventually([&] { return ran.load() == 1; }));
  child_process child([&] {
    ::alarm(60);
    // ThreadSanitizer lets no child of a process with threads begin one.
    if (!support::sanitized) {
      db->offload([&ran] { ++ran; });
      if (!eventually([&] { return ran.load() == 2; })) throw store::failure({});
    }
    db.reset();
  });
  CHECK(child.ended_well());
  db->offload([&ran] { ++ran; });
  db.reset();
  CHECK(ran == 2);
}

TEST_CASE("A child of fork is refused a file that its parent has open with SQLite") {
  const temporary_folder place;
  const std::string file = place.path() + "/open.db";
  const std::string closed = place.path() + "/closed.db";
  std::filesystem::create_symlink(file, place.path() + "/link.db");
  std::optional<sqlite::client> db(std::in_place, file, patient, quick);
  const auto hits = hits_of(*db);
  db->counter_add(hits, 1, {}).value();
  hits_in(closed);
  const auto refused = [](const std::string& name) {
    try {
      const sqlite::client own(name, patient, quick);
    } catch (const store::failure& why) {
      return why.error().code == store::errc::not_connected && !why.error().remedy.empty();
    }
    return false;
  };
  child_process child([&] {
    if (!refused(file) || !refused(place.path() + "/link.db")) throw store::failure({});
    child_process grandchild([&] {
      if (!refused(file)) throw store::failure({});
    });
    if (!grandchild.ended_well()) throw store::failure({});
    db.reset();  // its copy, which stays open
    if (!refused(file)) throw store::failure({});
    sqlite::client own(closed, patient, quick);
    own.counter_add(hits_of(own), 1, {}).value();
  });
  CHECK(child.ended_well());
  CHECK(hits_in(closed) == 1);
  CHECK(db->counter_add(hits, 1, {}).value() == 2);
  db.reset();
  child_process after([&] { hits_in(file); });
  CHECK(after.ended_well());
}

TEST_CASE("A file that another process holds is refused as busy at the deadline") {
  const temporary_folder place;
  const std::string file = place.path() + "/hits.db";
  hits_in(file);
  const shared_with_children<std::atomic<int>> held;
  child_process holder([&] {
    sqlite3* other = nullptr;
    sqlite3_open(file.c_str(), &other);
    if (sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK) *held = 1;
    while (held->load() == 1) ::usleep(1000);
    sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
  });
  REQUIRE(eventually([&] { return held->load() == 1; }));
  sqlite::client db(file, patient, quick);
  const auto hits = hits_of(db);
  const auto before = std::chrono::steady_clock::now();
  const auto late = db.counter_add(hits, 1, {.timeout = std::chrono::milliseconds(50)});
  CHECK(std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(50));
  REQUIRE(late.refused());
  CHECK(late.error().code == store::errc::busy);
  CHECK(late.error().engine == "sqlite");
  CHECK(late.error().operation == "counter.add");
  CHECK(late.error().object == "hits");
  CHECK(late.error().remedy != "");
  CHECK(db.counter_load(hits, {}).value() == 0);  // readers wait for nobody
  *held = 2;
  CHECK(db.counter_add(hits, 1, {}).value() == 1);
}
