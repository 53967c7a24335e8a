// SPDX-License-Identifier: BSL-1.0
// A disk that fails at each step of a commit to SQLite in turn: what is said of the commit is what
// a crash right then would leave, an id is exact, and the client is fit for use afterwards.

#include <interlock/sqlite/client.hpp>
#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/transaction.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using interlock::testing::temporary_folder;
using store::errc;
using store::operation_id;

namespace {

// What the disk does to the writes, truncations, flushes and removals that come.
struct disk {
  int calls = 0;     // so many came
  int fails_at = 0;  // this one fails; 0: none does
  bool for_good = false;  // all after it do, too
  int code = SQLITE_OK;   // of those that fail
  bool in_part = false;   // half of what is written arrives; what is removed is so

  // Returns: whether this call fails.
  bool fails() noexcept {
    ++calls;
    return fails_at != 0 && (calls == fails_at || (for_good && calls > fails_at));
  }
};
disk under_test;

// An SQLite VFS, "failing": the usual one over that disk.
struct failing_file {
  sqlite3_file base;
  [[nodiscard]] sqlite3_file* real() noexcept { return reinterpret_cast<sqlite3_file*>(this + 1); }
  static failing_file& of(sqlite3_file* file) noexcept {
    return *reinterpret_cast<failing_file*>(file);
  }
};
sqlite3_vfs* usual = nullptr;

int write(sqlite3_file* file, const void* data, int bytes, sqlite3_int64 at) {
  sqlite3_file* const real = failing_file::of(file).real();
  if (!under_test.fails()) return real->pMethods->xWrite(real, data, bytes, at);
  if (under_test.in_part) real->pMethods->xWrite(real, data, bytes / 2, at);
  return under_test.code == SQLITE_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
  sqlite3_file* const real = failing_file::of(file).real();
  if (!under_test.fails()) return real->pMethods->xTruncate(real, size);
  return SQLITE_IOERR_TRUNCATE;
}
int sync(sqlite3_file*, int) {
  return under_test.fails() ? SQLITE_IOERR_FSYNC : SQLITE_OK;  // the system has it all the same
}
int remove(sqlite3_vfs*, const char* path, int and_folder) {
  const bool fails = under_test.fails();
  const int code = fails && !under_test.in_part ? SQLITE_IOERR_DELETE
                                                : usual->xDelete(usual, path, and_folder);
  return fails && code == SQLITE_OK ? SQLITE_IOERR_DIR_FSYNC : code;
}

int open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out) {
  static const auto real_of = [](sqlite3_file* f) { return failing_file::of(f).real(); };
  static const sqlite3_io_methods methods = {
      2,  // no memory maps
      [](sqlite3_file* f) {
        const int code = real_of(f)->pMethods->xClose(real_of(f));
        f->pMethods = nullptr;
        return code;
      },
      [](sqlite3_file* f, void* to, int bytes, sqlite3_int64 at) {
        return real_of(f)->pMethods->xRead(real_of(f), to, bytes, at);
      },
      &write,
      &truncate,
      &sync,
      [](sqlite3_file* f, sqlite3_int64* size) {
        return real_of(f)->pMethods->xFileSize(real_of(f), size);
      },
      [](sqlite3_file* f, int level) { return real_of(f)->pMethods->xLock(real_of(f), level); },
      [](sqlite3_file* f, int level) { return real_of(f)->pMethods->xUnlock(real_of(f), level); },
      [](sqlite3_file* f, int* is) {
        return real_of(f)->pMethods->xCheckReservedLock(real_of(f), is);
      },
      [](sqlite3_file* f, int what, void* with) {
        return real_of(f)->pMethods->xFileControl(real_of(f), what, with);
      },
      [](sqlite3_file* f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); },
      [](sqlite3_file* f) { return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)); },
      [](sqlite3_file* f, int page, int size, int extend, void volatile** at) {
        return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, at);
      },
      [](sqlite3_file* f, int from, int count, int how) {
        return real_of(f)->pMethods->xShmLock(real_of(f), from, count, how);
      },
      [](sqlite3_file* f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); },
      [](sqlite3_file* f, int gone) {
        return real_of(f)->pMethods->xShmUnmap(real_of(f), gone);
      },
      nullptr,
      nullptr,
  };
  file->pMethods = nullptr;
  sqlite3_file* const real = failing_file::of(file).real();
  const int code = usual->xOpen(usual, path, real, flags, out);
  if (real->pMethods != nullptr) file->pMethods = &methods;
  return code;
}

void make_failing_disk() {
  static sqlite3_vfs failing{};
  if (usual != nullptr) return;
  usual = sqlite3_vfs_find(nullptr);
  failing = *usual;
  failing.szOsFile += static_cast<int>(sizeof(failing_file));
  failing.pNext = nullptr;
  failing.zName = "failing";
  failing.xOpen = &open;
  failing.xDelete = &remove;
  REQUIRE(sqlite3_vfs_register(&failing, 0) == SQLITE_OK);
}

// The files as they are now: what a process that is killed leaves.
std::string image(const std::string& file, const temporary_folder& place) {
  const std::string copy = place.path() + "/image.db";
  for (const char* const part : {"", "-wal", "-journal", "-shm"}) {
    std::filesystem::remove(copy + part);
    if (std::string_view(part) == "-shm" || !std::filesystem::exists(file + part)) continue;
    std::filesystem::copy_file(file + part, copy + part);
  }
  return copy;
}

// Without a flush: nothing here is about power.
sqlite::settings quick(sqlite::journal mode) {
  sqlite::settings how;
  how.journal = mode;
  how.synchronous = sqlite::synchronous::off;
  return how;
}

struct form {
  const char* name;
  sqlite::journal journal;
  const char* more;      // of the URI
  bool certain_if_full;  // a full disk is a refusal
};
enum class asks { plain, under_id, transaction };

// What was said of commits that met the fault.
struct tally {
  int refused = 0, done = 0, not_done = 0;  // the last two: of those that are unknown

  tally& operator+=(const tally& other) {
    refused += other.refused;
    done += other.done;
    not_done += other.not_done;
    return *this;
  }
};

// Effects: one commit for each step at which the disk may fail. Returns: what was said of them.
tally each_step(const form& how, asks what, disk fault, bool with_reader) {
  tally all;
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  under_test = {};
  sqlite::client db("file:" + file + "?vfs=failing" + how.more, {}, {.journal = how.journal});
  const sqlite::counter hits(db, "hits");
  REQUIRE(hits.add(1).applied());
  if (with_reader) CHECK(hits.load().applied());
  std::int64_t value = 1;
  for (int step = 1;; ++step) {
    CAPTURE(how.name, what, fault.code, fault.for_good, fault.in_part, with_reader, step);
    const operation_id id = what == asks::plain ? operation_id() : operation_id::fresh();
    const auto ask = [&](sqlite::client& by) -> store::outcome<std::int64_t> {
      const sqlite::counter at(by, "hits");
      if (what != asks::transaction) return at.add(1, {.id = id});
      return sqlite::atomically(by, [&](sqlite::transaction& t) { return t.add(at, 1); },
                                {.id = id});
    };
    under_test = fault;
    under_test.fails_at = step;
    const auto came = ask(db);
    const bool met = under_test.calls >= step;
    under_test.fails_at = 0;

    // As a crash right then would leave it.
    {
      sqlite::client after(image(file, place), {}, quick(sqlite::journal::as_found));
      const std::int64_t now = sqlite::counter(after, "hits").load().value();
      const bool done = now == value + 1;
      CHECK((done || now == value));
      if (came.applied()) CHECK(done);
      if (came.refused()) CHECK_FALSE(done);
      if (id) CHECK(ask(after).value() == value + 1);
      all.refused += came.refused() ? 1 : 0;
      all.done += came.unknown() && done ? 1 : 0;
      all.not_done += came.unknown() && !done ? 1 : 0;
    }
    if (!came.applied()) {
      const store::error& why = came.error();
      CHECK(why.engine == "sqlite");
      if (what != asks::transaction) {
        CHECK(why.operation == "counter.add");
        CHECK(why.object == "hits");
      }
      CHECK_FALSE(why.operation.empty());
      CHECK_FALSE(why.remedy.empty());
      const bool full = why.detail.find("full") != std::string::npos;
      CHECK(why.code == (full ? errc::out_of_space : errc::engine_failure));
    }

    // As the same client goes on.
    if (id) {
      CHECK(ask(db).value() == value + 1);
      ++value;
    } else {
      const std::int64_t now = hits.add(0).value();
      if (!came.unknown()) CHECK(now == value + (came.applied() ? 1 : 0));
      CHECK((now == value || now == value + 1));
      value = now;
    }
    CHECK(hits.add(1).value() == ++value);
    if (with_reader) CHECK(hits.load().value() == value);
    if (!met) return all;
  }
}

}  // namespace

TEST_CASE("A disk that fails at any step of a commit to SQLite leaves what was said") {
  make_failing_disk();
  const form forms[] = {
      {"wal", sqlite::journal::wal, "", true},
      {"wal, pages repeated", sqlite::journal::wal, "&psow=0", false},
      {"truncate", sqlite::journal::truncate, "", true},
      {"persist", sqlite::journal::persist, "", false},
      {"remove", sqlite::journal::remove, "", true},
  };
  for (const form& each : forms) {
    tally broken, full;
    for (const asks what : {asks::plain, asks::under_id, asks::transaction}) {
      if (what == asks::transaction && each.journal != sqlite::journal::wal) continue;
      for (const bool for_good : {false, true}) {
        if (for_good && what == asks::plain) continue;
        for (const bool in_part : {false, true}) {
          broken += each_step(each, what, {0, 0, for_good, SQLITE_IOERR, in_part}, in_part);
          full += each_step(each, what, {0, 0, for_good, SQLITE_FULL, in_part}, in_part);
        }
      }
    }
    CAPTURE(each.name);
    // The controls: whoever takes an error for a no, or for a yes, is wrong.
    CHECK(broken.done > 0);
    CHECK(broken.not_done > 0);
    if (each.certain_if_full) {
      CHECK(full.refused > 0);
    } else {
      CHECK(full.done > 0);
    }
  }
}

TEST_CASE("A full disk is unknown where SQLite keeps nothing to undo a commit by") {
  make_failing_disk();
  for (const sqlite::journal mode : {sqlite::journal::memory, sqlite::journal::off}) {
    const temporary_folder place;
    under_test = {};
    sqlite::client db("file:" + place.path() + "/data.db?vfs=failing", {}, {.journal = mode});
    const sqlite::counter hits(db, "hits");
    REQUIRE(hits.add(1).applied());
    under_test = {.fails_at = 1, .code = SQLITE_FULL};
    const auto came = hits.add(1);
    under_test = {};
    REQUIRE(came.unknown());
    CHECK(came.error().code == errc::out_of_space);
    CHECK(hits.add(1).applied());
  }
  // Nothing that is in memory alone is in doubt.
  sqlite::client memory(":memory:", {}, {.on_connect = "PRAGMA max_page_count=60"});
  for (int i = 0;; ++i) {
    REQUIRE(i < 1000);
    const auto came = sqlite::counter(memory, std::string(500, 'x') + std::to_string(i)).add(1);
    if (came.applied()) continue;
    CHECK(came.refused());
    CHECK(came.error().code == errc::out_of_space);
    break;
  }
}
