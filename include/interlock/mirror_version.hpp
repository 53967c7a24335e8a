// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/mirror_version.hpp - versions that survive a source which starts anew, and deletions.
//
// A source that is restored from a backup, or fails over, counts from an older number on. Its
// writes would be refused as stale for as long as it takes to count up again. Give each life of the
// source an epoch that is larger than the one before: a number kept with the data and raised as it
// is opened, or the time then. Targets compare the epoch first: WHERE (epoch, sequence) < (?, ?).

#include <compare>
#include <cstdint>
#include <optional>

namespace interlock {

struct mirror_version {
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;

  friend constexpr auto operator<=>(const mirror_version&, const mirror_version&) = default;
};

// What a source holds at one moment. No value: it was deleted. The target keeps the version of that
// (a tombstone), or an older write that comes late brings the value back.
template <class Value, class Version = mirror_version>
struct mirror_snapshot {
  std::optional<Value> value;
  Version version;
};

}  // namespace interlock
