// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/guarantees.hpp - what an engine promises: declared, probed, enforced.
//
// `claims` is what an engine can promise at best. A client asks its server at connect what it is
// set to (appendonly, synchronous_commit, PRAGMA synchronous ...) and keeps what follows from it as
// probed(). What a program needs, it requires: with settings that promise less, connecting fails
// and names the setting to change. Where a setting may not be read, the worst is assumed.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace interlock::store {

// Who sees what is written.
enum class visibility : std::uint8_t { process, host, network };

// What an acknowledged write survives. Each includes those before it.
enum class durability : std::uint8_t {
  none,           // nothing: it is gone with the process that holds it
  process_crash,  // the engine's process is killed
  power_loss,     // the machine stops
  failover        // the machine is replaced by another
};

// What is known of two fences, one given after the other.
enum class fence_kind : std::uint8_t {
  none,
  unique,                      // they differ
  monotone,                    // the later is larger, as long as no acknowledged write is lost
  monotone_across_data_loss    // the later is larger in any case (while the clock does not go back)
};

struct guarantees {
  visibility seen_by = visibility::process;
  durability keeps = durability::none;
  bool linearizable = false;       // operations on one object: one order, in real time
  bool serializable = false;       // transactions over several objects
  bool keeps_all_keys = false;     // nothing is evicted to make room
  fence_kind fence = fence_kind::none;

  // Returns: whether this is at least what is needed, in every respect.
  [[nodiscard]] constexpr bool cover(const guarantees& needed) const noexcept {
    return seen_by >= needed.seen_by && keeps >= needed.keeps && fence >= needed.fence &&
           (linearizable || !needed.linearizable) && (serializable || !needed.serializable) &&
           (keeps_all_keys || !needed.keeps_all_keys);
  }
  friend constexpr bool operator==(const guarantees&, const guarantees&) = default;
};

// A setting of the server that a promise hangs on.
struct setting {
  std::string name;    // "appendfsync"
  std::string value;   // "everysec"; "" if it may not be read
  std::string limits;  // what it takes away: "a power loss takes about a second of writes"; or ""
  std::string remedy;  // "set appendfsync to always"; "" if nothing is lost
  guarantees with;     // the most that is promised with this value
};

// What a client learnt of its server.
struct probed_guarantees {
  guarantees promised;
  std::vector<setting> settings;
  std::string server;  // "redis 7.0.15", "PostgreSQL 15.20", "SQLite 3.40.1"

  // Returns: the setting that keeps `needed` from being promised, if one does.
  [[nodiscard]] std::optional<setting> in_the_way_of(const guarantees& needed) const {
    for (const setting& each : settings) {
      if (!each.with.cover(needed)) return each;
    }
    return std::nullopt;
  }
};

// Returns: what both promise.
[[nodiscard]] constexpr guarantees weaker(const guarantees& a, const guarantees& b) noexcept {
  return {a.seen_by < b.seen_by ? a.seen_by : b.seen_by,
          a.keeps < b.keeps ? a.keeps : b.keeps,
          a.linearizable && b.linearizable,
          a.serializable && b.serializable,
          a.keeps_all_keys && b.keeps_all_keys,
          a.fence < b.fence ? a.fence : b.fence};
}

constexpr const char* to_string(durability d) noexcept {
  switch (d) {
    case durability::none: return "none";
    case durability::process_crash: return "process crash";
    case durability::power_loss: return "power loss";
    case durability::failover: return "failover";
  }
  return "no durability";
}
constexpr const char* to_string(fence_kind f) noexcept {
  switch (f) {
    case fence_kind::none: return "none";
    case fence_kind::unique: return "unique";
    case fence_kind::monotone: return "monotone";
    case fence_kind::monotone_across_data_loss: return "monotone across data loss";
  }
  return "no fence_kind";
}
constexpr const char* to_string(visibility v) noexcept {
  switch (v) {
    case visibility::process: return "process";
    case visibility::host: return "host";
    case visibility::network: return "network";
  }
  return "no visibility";
}

}  // namespace interlock::store
