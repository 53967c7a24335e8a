// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/settings.hpp - what an SQLite file may be told, besides what every engine takes.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace interlock::sqlite {

// PRAGMA journal_mode. as_found: what the file has; `wal` is kept in the file for everybody.
enum class journal : std::uint8_t { as_found, wal, truncate, persist, remove, memory, off };

// PRAGMA synchronous, of the connections of this client.
enum class synchronous : std::uint8_t { off, normal, full, extra };

struct settings {
  sqlite::journal journal = journal::wal;
  // full: an acknowledged write survives a power loss, and costs a flush of the disk. normal: a
  // power loss may take the last writes. off: it may take the file.
  sqlite::synchronous synchronous = synchronous::full;
  // SQL for each new connection, such as "PRAGMA foreign_keys = ON".
  std::string on_connect{};
  // The engine's clock. Empty: the system's. For tests of leases.
  std::function<std::chrono::system_clock::time_point()> clock{};
};

}  // namespace interlock::sqlite
