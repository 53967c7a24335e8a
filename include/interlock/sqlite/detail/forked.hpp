// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/forked.hpp - in how many forks this process is a child, and which files
// its ancestors had open.
//
// SQLite's handles must not be used, nor closed, in another process than the one that opened them.
// And SQLite keeps a table of the files that are open in the process, with the locks that it has on
// them. A child of fork() has a copy of that table and none of the locks: a handle that it opens on
// such a file takes no lock where the table says that there is one, and writes are lost.

#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "../../store/detail/process_generation.hpp"

namespace interlock::sqlite::detail {

inline std::mutex open_files_mutex;  // held over each fork()

// Returns: another number in a child of fork() than in its parent.
[[nodiscard]] inline unsigned fork_generation() noexcept {
  static const bool held = [] {
    const auto unlock = [] { open_files_mutex.unlock(); };
    return ::pthread_atfork([] { open_files_mutex.lock(); }, unlock, unlock) == 0;
  }();
  static_cast<void>(held);
  return store::detail::process_generation();
}

// A file that a connection opened; not one: a database in memory.
struct open_file {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  unsigned opened_in = fork_generation();

  explicit open_file(sqlite3* db) noexcept {
    const char* const name = sqlite3_db_filename(db, "main");
    struct ::stat about {};
    if (name == nullptr || *name == '\0' || ::stat(name, &about) != 0) return;
    device = static_cast<std::uint64_t>(about.st_dev);
    inode = static_cast<std::uint64_t>(about.st_ino);
  }
  [[nodiscard]] bool is_one() const noexcept { return inode != 0; }
  [[nodiscard]] bool same(const open_file& other) const noexcept {
    return device == other.device && inode == other.inode;
  }
};

// One for each connection, those of the ancestors too. Under open_files_mutex. Never destroyed:
// clients may end after all else.
[[nodiscard]] inline std::vector<open_file>& open_files() {
  static auto& all = *new std::vector<open_file>();
  return all;
}

// Preconditions: open_files_mutex is held since before the file was opened.
// Returns: false if an ancestor had the file open at the fork.
[[nodiscard]] inline bool add_open_file(const open_file& one) {
  if (!one.is_one()) return true;
  std::vector<open_file>& all = open_files();
  const bool inherited = std::any_of(all.begin(), all.end(), [&](const open_file& each) {
    return each.same(one) && each.opened_in != one.opened_in;
  });
  if (!inherited) all.push_back(one);
  return !inherited;
}
// Effects: it was closed, by the process that opened it.
inline void remove_open_file(const open_file& one) noexcept {
  if (!one.is_one()) return;
  const std::lock_guard lock(open_files_mutex);
  std::vector<open_file>& all = open_files();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const open_file& each) { return each.same(one); });
  if (found != all.end()) all.erase(found);
}

}  // namespace interlock::sqlite::detail
