// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/leases.hpp - leases with fences, and resources that know fences. Times
// are microseconds of the engine's clock. A fence is at least the time at which it was given, so it
// stays larger than those before it where the file is restored from an older copy.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "connection.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

using lease_outcome = store::outcome<store::lease_grant, store::lease_busy>;
using open_outcome = store::outcome<store::fenced_state, store::stale_fence>;
using fenced_outcome = store::outcome<store::nothing, store::stale_fence>;
using plain_outcome = store::outcome<store::nothing>;

// Returns: when a time that begins now ends; a century at most. Throws: store::refusal.
inline std::int64_t end_of(const request& by, std::int64_t now, std::chrono::milliseconds time,
                           std::chrono::milliseconds least = std::chrono::milliseconds(1)) {
  if (time < least) {
    throw by.refuse(store::errc::bad_argument, "the time is too short", "give a longer time");
  }
  return now + microseconds_in(time);
}
// Returns: what is left of it, rounded up.
inline std::chrono::milliseconds left_of(std::int64_t until, std::int64_t now) {
  return std::chrono::ceil<std::chrono::milliseconds>(
      std::chrono::microseconds(std::max<std::int64_t>(until - now, 0)));
}
inline plain_outcome done_if(std::int64_t changed) {
  if (changed != 0) return store::nothing{};
  return store::conflicting{store::nothing{}};
}

// In a transaction.
inline lease_outcome acquire_lease(connection& on, const request& by, std::string_view owner,
                                   std::chrono::milliseconds lease, std::int64_t now) {
  const std::int64_t until = end_of(by, now, lease);
  {
    statement acquire(on, sql::mutex_acquire, by.name, owner, std::max<std::int64_t>(now, 1), until,
                      now);
    if (acquire.row()) {
      const store::lease_grant given{acquire.number(0)};
      acquire.run();
      return given;
    }
  }
  statement load(on, sql::mutex_load, by.name);
  return store::conflicting{
      store::lease_busy{load.row() ? left_of(load.integer(0), now) : std::chrono::milliseconds(0)}};
}

inline plain_outcome renew_lease(connection& on, const request& by, std::string_view owner,
                                 std::uint64_t fence, std::chrono::milliseconds lease,
                                 std::int64_t now) {
  const std::int64_t until = end_of(by, now, lease);
  return done_if(statement(on, sql::mutex_renew, by.name, owner, fence, until).changed());
}

inline plain_outcome release_lease(connection& on, const request& by, std::string_view owner,
                                   std::uint64_t fence) {
  return done_if(statement(on, sql::mutex_release, by.name, owner, fence).changed());
}

inline store::outcome<store::lease_grant> raise_lease(connection& on, const request& by,
                                                      std::string_view owner, std::uint64_t fence,
                                                      std::uint64_t above) {
  by.require_small(above, "fence");
  statement raise(on, sql::mutex_raise, by.name, owner, fence, above + 1);
  if (!raise.row()) return store::conflicting{store::nothing{}};
  const store::lease_grant given{raise.number(0)};
  raise.run();
  return given;
}

inline store::stale_fence watermark_of(connection& on, const request& by) {
  statement load(on, sql::fenced_load, by.name);
  return {load.row() ? load.number(0) : 0};
}

// In a transaction.
inline open_outcome open_fenced(connection& on, const request& by, std::uint64_t fence,
                                std::string_view owner) {
  by.require_small(fence, "fence");
  {
    statement open(on, sql::fenced_open, by.name, fence, owner);
    if (open.row()) {
      store::fenced_state found{open.bytes_if(0)};
      open.run();
      return found;
    }
  }
  return store::conflicting{watermark_of(on, by)};
}

// In a transaction.
inline fenced_outcome write_fenced(connection& on, const request& by, std::uint64_t fence,
                                   std::string_view owner, std::string_view bytes) {
  by.require_small(fence, "fence");
  if (statement(on, sql::fenced_write, by.name, fence, owner, bytes).changed() != 0) {
    return store::nothing{};
  }
  return store::conflicting{watermark_of(on, by)};
}

}  // namespace interlock::sqlite::detail
