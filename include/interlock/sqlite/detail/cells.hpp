// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/cells.hpp - versioned cells. All versions of a prefix come from one row.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "connection.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

using put_outcome = store::outcome<std::uint64_t, store::cell_state>;
using commit_outcome = store::outcome<std::uint64_t, store::cell_conflict>;

inline store::cell_state find_cell(connection& on, std::string_view name) {
  statement load(on, sql::cell_load, name);
  if (!load.row()) return {};
  return {load.number(0), load.bytes_if(1)};
}

inline std::uint64_t next_version(connection& on) {
  statement next(on, sql::next_version);
  if (!next.row()) throw fault{SQLITE_CORRUPT, "the row of versions is gone", 0, false};
  const std::uint64_t version = next.number(0);
  next.run();
  return version;
}

inline void set_cell(connection& on, std::string_view name, std::uint64_t version,
                     std::optional<std::string_view> bytes) {
  if (statement(on, sql::cell_put, name, version, bytes).changed() != 0) return;
  statement(on, sql::cell_first, name, version, bytes).run();
}

// In a transaction.
inline put_outcome put_cell(connection& on, const request& by,
                            std::optional<std::uint64_t> expected,
                            std::optional<std::string_view> bytes) {
  const std::uint64_t version = next_version(on);
  if (!expected) {
    set_cell(on, by.name, version, bytes);
    return version;
  }
  const sql which = *expected == 0 ? sql::cell_first : sql::cell_swap;
  const std::int64_t changed =
      *expected == 0 ? statement(on, which, by.name, version, bytes).changed()
                     : statement(on, which, by.name, version, bytes, *expected).changed();
  if (changed != 0) return version;
  return store::conflicting{find_cell(on, by.name)};
}

// In a transaction.
inline commit_outcome commit_cells(connection& on,
                                   std::span<const store::cell_check<object>> checks,
                                   std::span<const store::cell_write<object>> writes) {
  for (std::size_t i = 0; i < checks.size(); ++i) {
    store::cell_state now = find_cell(on, checks[i].cell->name());
    if (now.version != checks[i].version) {
      return store::conflicting{store::cell_conflict{i, std::move(now)}};
    }
  }
  if (writes.empty()) return std::uint64_t{0};
  const std::uint64_t version = next_version(on);
  for (const store::cell_write<object>& each : writes) {
    set_cell(on, each.cell->name(), version, each.bytes);
  }
  return version;
}

}  // namespace interlock::sqlite::detail
