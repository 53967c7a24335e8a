// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/mirrors.hpp - values under versions of their source: the newest stays.

#include <optional>
#include <string_view>

#include "connection.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

using mirror_outcome = store::outcome<store::nothing, store::mirror_row>;

inline store::mirror_row find_mirrored(connection& on, const request& by) {
  statement get(on, sql::mirror_get, by.name, by.key);
  if (!get.row()) return {};
  return {mirror_version{get.number(0), get.number(1)}, get.bytes_if(2)};
}

// One statement, and one more if it was refused; each alone is atomic.
inline mirror_outcome put_mirrored(connection& on, const request& by, mirror_version version,
                                   std::optional<std::string_view> bytes) {
  by.require_key();
  by.require_small(version.epoch, "epoch");
  by.require_small(version.sequence, "sequence");
  if (statement(on, sql::mirror_put, by.name, by.key, version.epoch, version.sequence, bytes)
          .changed() != 0) {
    return store::nothing{};
  }
  return store::conflicting{find_mirrored(on, by)};
}

}  // namespace interlock::sqlite::detail
