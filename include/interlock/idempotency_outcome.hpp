// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/idempotency_outcome.hpp - what became of a request that carries a key.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace interlock {

// What a request asks for, as a number: two requests with one key must agree on it.
enum class fingerprint : std::uint64_t {};

// Returns: the FNV-1a hash of the bytes. Compared under one key only, so two payloads are taken for
//          one another once in 2^64, by accident. Not cryptographic.
[[nodiscard]] constexpr fingerprint fingerprint_of(std::string_view bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return fingerprint{hash};
}

enum class idempotency_outcome : std::uint8_t {
  executed,          // this call ran f
  joined,            // another call was running f: this is its answer
  replayed,          // a call ran f before: this is its answer
  lost_ownership,    // this call ran f, but the key was forgotten meanwhile: nothing is kept
  payload_mismatch,  // the key is known with another fingerprint
  in_flight,         // another call is running f, and this one does not wait
  reentered,         // this thread is inside f of this very key: waiting would never end
  over_capacity,     // every entry of the key's shard is in flight: those are never evicted
  circular,          // the run waits for a run that waits for one of this thread's
  in_doubt,          // a run was lost after its effect began: nobody knows whether it is done
  cancelled,         // the stop token ended the wait for another call's run
  timed_out,         // the deadline did
  bad_key,           // the key is empty, or longer than the options allow
  absent,            // a look-up alone: the key has no answer
  failed,            // a look-up alone: the key has a failure that is kept
};

// Returns: the name of the outcome, such as "payload mismatch".
constexpr const char* to_string(idempotency_outcome outcome) noexcept {
  switch (outcome) {
    case idempotency_outcome::executed: return "executed";
    case idempotency_outcome::joined: return "joined";
    case idempotency_outcome::replayed: return "replayed";
    case idempotency_outcome::lost_ownership: return "lost ownership";
    case idempotency_outcome::payload_mismatch: return "payload mismatch";
    case idempotency_outcome::in_flight: return "in flight";
    case idempotency_outcome::reentered: return "reentered";
    case idempotency_outcome::over_capacity: return "over capacity";
    case idempotency_outcome::circular: return "circular";
    case idempotency_outcome::in_doubt: return "in doubt";
    case idempotency_outcome::cancelled: return "cancelled";
    case idempotency_outcome::timed_out: return "timed out";
    case idempotency_outcome::bad_key: return "bad key";
    case idempotency_outcome::absent: return "absent";
    case idempotency_outcome::failed: return "failed";
  }
  return "no idempotency_outcome";
}

struct idempotency_statistics {
  std::size_t entries;   // now
  std::uint64_t weight;  // of all answers, now; the others count from the beginning
  std::uint64_t executed, joined, replayed, mismatches, refused;
  std::uint64_t failures, takeovers, evicted, expired, too_heavy;
};

}  // namespace interlock
