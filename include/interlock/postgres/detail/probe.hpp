// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/probe.hpp - what a server's settings let it promise.

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/guarantees.hpp"
#include "connection.hpp"

namespace interlock::postgres::detail {

inline constexpr store::guarantees best{store::visibility::network,
                                        store::durability::failover,
                                        true,
                                        true,
                                        true,
                                        store::fence_kind::monotone_across_data_loss};

inline constexpr const char* probe_sql =
    "select current_setting('fsync'), current_setting('full_page_writes'), "
    "current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), "
    "current_setting('client_min_messages')";

// Returns: the promise of `best` with this durability at most.
[[nodiscard]] constexpr store::guarantees keeping(store::durability most) noexcept {
  store::guarantees promised = best;
  promised.keeps = most;
  return promised;
}

// Preconditions: row 0 is what probe_sql gave.
[[nodiscard]] inline store::probed_guarantees probed_in(const result& row, std::string server) {
  using store::durability;
  const auto value = [&row](int column) { return std::string(bytes_in(row, 0, column)); };
  store::probed_guarantees probed{best, {}, std::move(server)};
  const auto note = [&probed](store::setting found) {
    probed.promised = store::weaker(probed.promised, found.with);
    probed.settings.push_back(std::move(found));
  };
  if (value(0) == "on") {
    note({"fsync", "on", "", "", best});
  } else {
    note({"fsync", value(0), "a power loss may ruin the database", "set fsync to on",
          keeping(durability::process_crash)});
  }
  if (value(1) == "on") {
    note({"full_page_writes", "on", "", "", best});
  } else {
    note({"full_page_writes", value(1), "a power loss may leave pages half written",
          "set full_page_writes to on", keeping(durability::process_crash)});
  }
  const std::string commit = value(2);
  const std::string standbys = value(3);
  if (commit == "off") {
    note({"synchronous_commit", commit, "a crash of the server takes the last commits",
          "set synchronous_commit to on", keeping(durability::none)});
  } else if (commit != "on" && commit != "remote_apply") {
    note({"synchronous_commit", commit, "a failover takes commits that no standby has on disk",
          "set synchronous_commit to on", keeping(durability::power_loss)});
  } else {
    note({"synchronous_commit", commit, "", "", best});
  }
  if (standbys.empty()) {
    note({"synchronous_standby_names", "", "a failover takes commits that no standby has",
          "name a synchronous standby in synchronous_standby_names",
          keeping(durability::power_loss)});
  } else {
    note({"synchronous_standby_names", standbys, "", "", best});
  }
  const std::string told = value(4);  // a session that prepares has set it
  if (told == "error" || told == "fatal" || told == "panic") {
    note({"client_min_messages", told,
          "a commit whose wait for a standby was ended is not told from others",
          "set client_min_messages to warning, or settings::prepare to true",
          keeping(durability::power_loss)});
  } else {
    note({"client_min_messages", told, "", "", best});
  }
  return probed;
}

}  // namespace interlock::postgres::detail
