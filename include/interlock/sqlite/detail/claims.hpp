// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/claims.hpp - who runs what has an idempotency key, and what it answered.

#include <chrono>
#include <cstdint>
#include <string_view>

#include "../../store/detail/backoff.hpp"
#include "connection.hpp"
#include "leases.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

using claim_outcome = store::outcome<store::idempotency_claim>;

enum class claim_state : std::int64_t { running, done, released };  // as they are stored

// Effects: now and then, removes what ended longer ago than `retention` from a few rows that begin
//          anywhere. Until then an answer whose time is over still counts attempts.
inline void sweep_claims(connection& on, std::int64_t now, std::chrono::milliseconds retention) {
  auto& random = store::detail::splitmix::of_this_thread();
  if (random.next() % 8 != 0) return;
  const auto place = static_cast<std::int64_t>(random.next() % 1048576);
  const std::int64_t before = now - microseconds_in(retention);
  statement(on, sql::claim_sweep, place, before, 32).run();
}

// In a transaction.
inline claim_outcome claim_key(connection& on, const request& by, fingerprint print,
                               std::string_view owner, std::chrono::milliseconds lease,
                               std::int64_t now, std::chrono::milliseconds retention) {
  using state = store::idempotency_claim::state;
  by.require_key();
  const std::int64_t until = end_of(by, now, lease);
  const auto wanted = static_cast<std::int64_t>(print);
  std::int64_t attempt = 1;
  {
    statement known(on, sql::claim_load, by.name, by.key);
    if (known.row()) {
      const auto was = static_cast<claim_state>(known.integer(1));
      const bool running = was == claim_state::running;
      const bool forgotten =
          was == claim_state::released || (was == claim_state::done && known.integer(4) <= now);
      attempt = known.integer(2);
      if (!forgotten && known.integer(0) != wanted) {
        return store::idempotency_claim{.what = state::mismatch};
      }
      if (!forgotten && !running) {
        return store::idempotency_claim{.what = state::done,
                                        .attempt = static_cast<std::uint64_t>(attempt),
                                        .response = std::string(known.bytes(5))};
      }
      const bool ours = running && known.bytes(3) == owner;
      if (running && !ours && known.integer(4) > now) {
        return store::idempotency_claim{.what = state::busy,
                                        .remaining = left_of(known.integer(4), now)};
      }
      if (!ours) ++attempt;
    }
  }
  statement(on, sql::claim_take, by.name, by.key, wanted, attempt, owner, until).run();
  sweep_claims(on, now, retention);
  return store::idempotency_claim{.what = state::claimed,
                                  .attempt = static_cast<std::uint64_t>(attempt)};
}

// In a transaction.
inline plain_outcome complete_claim(connection& on, const request& by, std::string_view owner,
                                    std::uint64_t attempt, std::string_view response,
                                    std::chrono::milliseconds keep, std::int64_t now) {
  const std::int64_t until = end_of(by, now, keep, std::chrono::milliseconds(0));
  if (statement(on, sql::claim_complete, by.name, by.key, owner, attempt, response, until)
          .changed() != 0) {
    return store::nothing{};
  }
  return done_if(statement(on, sql::claim_load_owner, by.name, by.key, owner, attempt).row() ? 1
                                                                                             : 0);
}

inline plain_outcome release_claim(connection& on, const request& by, std::string_view owner,
                                   std::uint64_t attempt, std::int64_t now) {
  return done_if(statement(on, sql::claim_release, by.name, by.key, owner, attempt, now).changed());
}

inline plain_outcome keep_claim(connection& on, const request& by, std::string_view owner,
                                std::uint64_t attempt, std::chrono::milliseconds lease,
                                std::int64_t now) {
  const std::int64_t until = end_of(by, now, lease);
  return done_if(
      statement(on, sql::claim_heartbeat, by.name, by.key, owner, attempt, until).changed());
}

}  // namespace interlock::sqlite::detail
