// SPDX-License-Identifier: BSL-1.0
// What cannot be done on SQLite: the error says where, about what, and what to do; and the state
// afterwards is known.

#include <interlock/sqlite/bounded_counter.hpp>
#include <interlock/sqlite/client.hpp>
#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/transaction.hpp>
#include <interlock/sqlite/versioned.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <sqlite3.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "engines/sqlite/children.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::testing::temporary_folder;
using store::errc;
using store::object_kind;

namespace {

// Checks that the error can be acted upon. Returns: its code.
errc complete(const store::error& said, const std::string& operation, const std::string& object) {
  CHECK(said.engine == "sqlite");
  CHECK(said.operation == operation);
  CHECK(said.object == object);
  CHECK(said.detail != "");
  CHECK(said.remedy != "");
  return said.code;
}

errc opening(const std::string& path, const store::client_options& options = {}) {
  try {
    sqlite::client db(path, options);
  } catch (const store::failure& why) {
    return complete(why.error(), "client",
                    why.error().object == options.prefix ? options.prefix : path);
  }
  return errc::engine_failure;
}

void raw(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

// While it lives, the system writes nothing to files.
class full_disk {
public:
  full_disk() {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const ::rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  full_disk(const full_disk&) = delete;
  full_disk& operator=(const full_disk&) = delete;
  ~full_disk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

private:
  ::rlimit before_{};
  void (*signal_)(int) = std::signal(SIGXFSZ, SIG_IGN);  // the write fails
};

// While it lives, SQLite calls f for each connection that is opened.
class each_connection {
public:
  using entry = int (*)(sqlite3*, char**, const sqlite3_api_routines*);
  explicit each_connection(entry f) : f_(reinterpret_cast<void (*)()>(f)) {
    sqlite3_auto_extension(f_);
  }
  each_connection(const each_connection&) = delete;
  each_connection& operator=(const each_connection&) = delete;
  ~each_connection() { sqlite3_cancel_auto_extension(f_); }

private:
  void (*f_)();
};

}  // namespace

TEST_CASE("A path that is no SQLite file is refused with what to give instead") {
  const temporary_folder place;
  const std::string note = place.path() + "/note.txt";
  std::ofstream(note) << std::string(5000, 'x');
  CHECK(opening(note) == errc::bad_address);
  CHECK(opening(place.path()) == errc::bad_address);
  CHECK(opening(place.path() + "/none/data.db") == errc::bad_address);
  CHECK(opening("") == errc::bad_address);
  CHECK(opening("file:" + place.path() + "/new.db?mode=rw") == errc::bad_address);
  CHECK(opening(":memory:", {.prefix = "a b"}) == errc::bad_argument);
  CHECK(std::filesystem::file_size(note) == 5000);
}

TEST_CASE("A file whose tables this version cannot read is refused and left as it is") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  { const sqlite::client db(file); }
  raw(file, "UPDATE interlock_meta SET schema=2");
  CHECK(opening(file) == errc::wrong_schema);
  CHECK_NOTHROW(sqlite::client(file, {.prefix = "other"}));
  raw(file, "CREATE TABLE mine_meta(x)");
  CHECK(opening(file, {.prefix = "mine"}) == errc::wrong_schema);
}

TEST_CASE("Prefixes that differ in capitals or underscores share nothing") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  std::vector<sqlite::client> clients;
  for (const char* const prefix : {"a", "A", "a_", "a_b", "a-b", "_"}) {
    clients.emplace_back(file, store::client_options{.prefix = prefix});
  }
  for (sqlite::client& each : clients) sqlite::counter(each, "hits").add(1).value();
  for (sqlite::client& each : clients) CHECK(sqlite::counter(each, "hits").load().value() == 1);
}

TEST_CASE("Names and keys of any bytes are told apart, and too long ones refused") {
  sqlite::client db(":memory:", {.max_value_bytes = 100});
  const std::string zero("a\0b", 3);
  for (const std::string& name :
       {std::string("a"), zero, std::string("a/b"), std::string("\xff")}) {
    CHECK(sqlite::counter(db, name).add(1).value() == 1);
  }
  try {
    static_cast<void>(db.object_named(object_kind::counter, ""));
    FAIL("it was not refused");
  } catch (const store::failure& why) {
    CHECK(why.error().code == errc::bad_argument);
  }
  CHECK_THROWS_AS(db.object_named(object_kind::counter, std::string(513, 'x')), store::failure);
  const auto queue = db.object_named(object_kind::queue, "q");
  CHECK(complete(db.queue_push(queue, "", "x", {}).error(), "serial_queue.push", "q") ==
        errc::bad_argument);
  CHECK(db.queue_push(queue, std::string(513, 'x'), "x", {}).error().code == errc::too_large);
  CHECK(complete(db.queue_push(queue, "k", std::string(101, 'x'), {}).error(), "serial_queue.push",
                 "q") == errc::too_large);
  CHECK(db.queue_depth(queue, {}).value().waiting == 0);
  const sqlite::versioned<std::string> cell(db, "cell");
  CHECK(complete(cell.store(std::string(101, 'x')).error(), "versioned.put", "cell") ==
        errc::too_large);
}

TEST_CASE("A value of another type is refused and stays as it is") {
  sqlite::client db(":memory:");
  const sqlite::versioned<std::string> text(db, "cell");
  const sqlite::versioned<int> number(db, "cell");
  text.store("seven").value();
  CHECK(complete(number.load().error(), "versioned.load", "cell") == errc::bad_value);
  const auto read = sqlite::atomically(db, [&](sqlite::transaction& t) { return *t.read(number); });
  REQUIRE(read.refused());
  CHECK(complete(read.error(), "transaction.read", "cell") == errc::bad_value);
  CHECK(text.load().value().value == "seven");
}

TEST_CASE("A full disk is refused, what was there stays, and with room it goes on") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  sqlite::client db(file, {}, {.on_connect = "PRAGMA max_page_count=60"});
  const sqlite::counter hits(db, "hits");
  hits.add(7).value();
  int stored = 0;
  store::outcome<std::uint64_t> last = std::uint64_t{0};
  for (; stored < 1000; ++stored) {
    const sqlite::versioned<std::string> cell(db, "cell" + std::to_string(stored));
    last = cell.store(std::string(5000, 'x'));
    if (!last) break;
  }
  REQUIRE(last.refused());
  CHECK(complete(last.error(), "versioned.put", "cell" + std::to_string(stored)) ==
        errc::out_of_space);
  const auto both = sqlite::atomically(db, [&](sqlite::transaction& t) {
    t.add(hits, 1);
    t.write(sqlite::versioned<std::string>(db, "big"), std::string(50000, 'x'));
  });
  REQUIRE(both.refused());
  CHECK(both.error().code == errc::out_of_space);
  CHECK(hits.load().value() == 7);
  CHECK(sqlite::versioned<std::string>(db, "cell0").load().value().value->size() == 5000);
  sqlite::client roomy(file);
  const sqlite::versioned<std::string> cell(roomy, "cell" + std::to_string(stored));
  CHECK(cell.store(std::string(5000, 'x')).applied());
  CHECK(hits.add(1).value() == 8);
}

TEST_CASE("An answer that SQLite keeps under an id is given again where nothing can be written") {
  const auto way = GENERATE(sqlite::journal::wal, sqlite::journal::remove);
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  sqlite::client db(file, {}, {.journal = way});
  const sqlite::counter hits(db, "hits");
  const auto own = store::operation_id::fresh();
  const auto of_body = store::operation_id::fresh();
  const auto twice = [&](sqlite::transaction& t) { return t.add(hits, 1) + t.add(hits, 1); };
  const auto one = [&] { return hits.add(1, {.id = own}); };
  const auto other = [&] { return sqlite::atomically(db, twice, {.id = of_body}); };
  const auto check = [&] {
    CHECK(one().value() == 1);
    CHECK(other().value() == 5);
  };
  const auto when_full = [&](auto call) {
    CHECK(hits.add(0).applied());  // what failed before has a connection again
    const full_disk now;           // a report could not be written either
    return call();
  };
  check();
  check();
  const auto anew = [&] { return hits.add(1, {.id = store::operation_id::fresh()}); };
  CHECK_FALSE(when_full(anew).applied());
  CHECK(when_full(one).value() == 1);
  CHECK(when_full(other).value() == 5);
  CHECK(hits.load().value() == 3);
  raw(file,
      "CREATE TRIGGER no BEFORE UPDATE ON interlock_answer BEGIN SELECT RAISE(ROLLBACK, 'no'); "
      "END");
  check();
  CHECK(hits.add(1).value() == 4);
}

TEST_CASE("A file that may only be read is read, and writes are refused") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  {
    sqlite::client db(file, {}, {.journal = sqlite::journal::remove});
    sqlite::counter(db, "hits").add(3).value();
  }
  sqlite::client db("file:" + file + "?mode=ro");
  const sqlite::counter hits(db, "hits");
  CHECK(hits.load().value() == 3);
  CHECK(complete(hits.add(1).error(), "counter.add", "hits") == errc::read_only);
  CHECK(hits.load().value() == 3);
  const std::string other = place.path() + "/other.db";
  raw(other, "CREATE TABLE mine(x)");
  CHECK(opening("file:" + other + "?mode=ro") == errc::read_only);
}

TEST_CASE("A broken file is told as one") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  {
    sqlite::client db(file, {}, {.journal = sqlite::journal::remove});
    const sqlite::versioned<std::string> cell(db, "cell");
    cell.store(std::string(100000, 'x')).value();
  }
  {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(4096);
    out << std::string(200000, 'z');
  }
  try {
    sqlite::client db(file);
    const sqlite::versioned<std::string> cell(db, "cell");
    const auto found = cell.load();
    REQUIRE(found.refused());
    CHECK(found.error().code == errc::engine_failure);
  } catch (const store::failure& why) {
    CHECK(why.error().code == errc::engine_failure);
    CHECK(why.error().remedy != "");
  }
}

TEST_CASE("A transaction that SQLite does not begin is refused, not unknown") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  sqlite::client db(file, {}, {.journal = sqlite::journal::remove});
  const sqlite::counter hits(db, "hits");
  hits.exchange(1).value();
  {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out << std::string(100, 'z');  // what it had in memory is not of this file any more
  }
  const auto broken = hits.exchange(2);
  REQUIRE(broken.refused());
  CHECK(complete(broken.error(), "counter.exchange", "hits") == errc::bad_address);
}

TEST_CASE("Another file in the place of the first is refused until it is accepted") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  sqlite::client db(file);
  const sqlite::counter hits(db, "hits");
  hits.add(3).value();
  hits.load().value();
  const std::string first = db.incarnation();
  for (const char* const part : {"", "-wal", "-shm"}) std::filesystem::remove(file + part);
  store::outcome<std::int64_t> gone = std::int64_t{0};
  CHECK(support::eventually([&] {  // it looks once a second
    gone = hits.add(1);
    return !gone.applied();
  }));
  REQUIRE(gone.refused());
  CHECK(complete(gone.error(), "counter.add", "hits") == errc::not_connected);
  { const sqlite::client other(file); }
  const auto added = hits.add(1);
  REQUIRE(added.refused());
  CHECK(complete(added.error(), "counter.add", "hits") == errc::history_lost);
  CHECK(support::eventually([&] { return hits.load().refused(); }));  // each connection by itself
  static int tries;
  tries = 0;
  const each_connection counted([](sqlite3*, char**, const sqlite3_api_routines*) {
    ++tries;
    return SQLITE_OK;
  });
  CHECK(support::eventually([&] { return hits.load().refused() && tries >= 6; }));
  db.accept_history();  // nobody would have tried again within some 300 ms
  CHECK(hits.load().value() == 0);
  CHECK(db.incarnation() != first);
  CHECK(hits.add(1).value() == 1);
  CHECK(hits.load().value() == 1);
}

TEST_CASE("Data in memory stays where its history is accepted") {
  sqlite::client db(":memory:");
  const sqlite::counter hits(db, "hits");
  hits.add(7).value();
  const std::string before = db.incarnation();
  db.accept_history();
  CHECK(db.incarnation() == before);
  CHECK(hits.load().value() == 7);
}

TEST_CASE("A connection of SQLite that did not end what it read is not used again") {
  static bool short_of_memory;
  short_of_memory = false;
  const temporary_folder place;
  sqlite::client db(place.path() + "/data.db", {.connections = 1});
  const sqlite::counter hits(db, "hits");
  const auto cell = db.object_named(object_kind::cell, "cell");
  const std::vector<const sqlite::client::object*> both{&cell, &cell};
  const each_connection watched([](sqlite3* of, char**, const sqlite3_api_routines*) {
    const auto seen = [](unsigned, void* self, void*, void* text) {
      const std::string_view sql = static_cast<const char*>(text);
      if (short_of_memory && sql.starts_with("SELECT")) {
        sqlite3_limit(static_cast<sqlite3*>(self), SQLITE_LIMIT_SQL_LENGTH, 1);  // no ROLLBACK
      }
      return 0;
    };
    return sqlite3_trace_v2(of, SQLITE_TRACE_STMT, seen, of);
  });
  CHECK(hits.add(1).value() == 1);
  CHECK(hits.load().value() == 1);
  CHECK(db.cell_load(cell, {}).applied());  // prepared from now on
  short_of_memory = true;
  CHECK(db.cells_load(both, {}).applied());
  short_of_memory = false;
  CHECK(hits.add(1).value() == 2);
  CHECK(hits.load().value() == 2);
  CHECK(db.cells_load(both, {}).applied());
}

TEST_CASE("A call without time is refused before anything is done, and so is one after close") {
  sqlite::client db(":memory:");
  const sqlite::counter hits(db, "hits");
  CHECK(complete(hits.add(1, {.timeout = -1ms}).error(), "counter.add", "hits") == errc::timed_out);
  CHECK(hits.load().value() == 0);
  sqlite::client copy = db;
  copy.close();
  CHECK(complete(hits.add(1).error(), "counter.add", "hits") == errc::closed);
  CHECK(complete(hits.load().error(), "counter.load", "hits") == errc::closed);
}

TEST_CASE("A call to SQLite that makes two requests keeps its one deadline") {
  struct watch {  // of the statements that the client's connection begins
    sqlite3* holder = nullptr;
    int added = 0;
    int begun = 0;
    static int seen(unsigned, void* self, void*, void* text) {
      watch& w = *static_cast<watch*>(self);
      const std::string_view sql = static_cast<const char*>(text);
      if (w.holder == nullptr) return 0;
      if (sql.starts_with("UPDATE") && w.added++ == 0) sqlite3_sleep(700);  // a slow disk
      if (sql.starts_with("BEGIN") && w.begun++ == 0) {
        sqlite3_exec(w.holder, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
      }
      return 0;
    }
  };
  static watch here;
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  std::optional<each_connection> watched(
      std::in_place, [](sqlite3* db, char**, const sqlite3_api_routines*) {
        return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, &watch::seen, &here);
      });
  sqlite::client db(file, {}, {.synchronous = sqlite::synchronous::normal});
  watched.reset();
  const sqlite::bounded_counter stock(db, "stock", {.value = 0, .low = 0, .high = 5});
  sqlite3* holder = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &holder) == SQLITE_OK);
  here.holder = holder;
  const auto before = std::chrono::steady_clock::now();
  const auto late = stock.try_sub(1, {.timeout = 1s});
  CHECK(std::chrono::steady_clock::now() - before < 1500ms);
  here.holder = nullptr;
  sqlite3_close(holder);
  CHECK((here.added == 1 && here.begun == 1));
  CHECK(complete(late.error(), "bounded_counter.add", "stock") == errc::busy);
}

TEST_CASE("Threads of one client write in turn, and who waits too long is refused as overloaded") {
  const temporary_folder place;
  sqlite::client db(place.path() + "/data.db", {.timeout = 20s},
                    {.synchronous = sqlite::synchronous::normal});
  const sqlite::counter hits(db, "hits");
  support::run_threads(16, [&](std::size_t) {
    for (int i = 0; i < 50; ++i) hits.add(1).value();
  });
  CHECK(hits.load().value() == 16 * 50);
  sqlite::atomically(db, [&](sqlite::transaction& t) {
    t.add(hits, 1);
    errc heard = errc::closed;
    std::thread([&] { heard = hits.add(1, {.timeout = 20ms}).error().code; }).join();
    CHECK(heard == errc::overloaded);
  }).value();
  CHECK(hits.load().value() == 16 * 50 + 1);
}
