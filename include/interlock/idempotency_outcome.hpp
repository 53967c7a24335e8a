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
  lost_ownership,    // this call ran f, but the key is another's or unknown by now: nothing is kept
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

// What options::on_event hears of.
enum class idempotency_news : std::uint8_t {
  started,        // a call owns the key and is to run
  taken_over,     // the same, after another owner
  executed,       // its run has answered
  failed,         // it has thrown
  lost,           // it has done either, but the key was another's or unknown by then
  too_heavy,      // comes before executed or failed: that is not kept
  given_up,       // is about to end with neither
  left_in_doubt,  // the same, after begin_effect(): somebody has to find out what was done
  joined,         // a call was given what another's run came to
  refused,        // a call that asked for a run got nothing: the outcome says why
  evicted,        // an answer or failure left, as there was no room
  expired,        // or because its ttl had passed: noticed when its place was needed
  dropped,        // or a run lost its key: by evict() or forget()
};

// Returns: the name of the news, such as "left in doubt".
constexpr const char* to_string(idempotency_news news) noexcept {
  switch (news) {
    case idempotency_news::started: return "started";
    case idempotency_news::taken_over: return "taken over";
    case idempotency_news::executed: return "executed";
    case idempotency_news::failed: return "failed";
    case idempotency_news::lost: return "lost";
    case idempotency_news::too_heavy: return "too heavy";
    case idempotency_news::given_up: return "given up";
    case idempotency_news::left_in_doubt: return "left in doubt";
    case idempotency_news::joined: return "joined";
    case idempotency_news::refused: return "refused";
    case idempotency_news::evicted: return "evicted";
    case idempotency_news::expired: return "expired";
    case idempotency_news::dropped: return "dropped";
  }
  return "no idempotency_news";
}

template <class Key>
struct idempotency_event {
  idempotency_news what;
  const Key* key;             // until the listener returns; null if it was refused
  std::uint32_t attempt = 0;  // which owner of the key
  idempotency_outcome outcome = idempotency_outcome::executed;  // why, if it was refused
};

struct idempotency_statistics {
  // Now:
  std::size_t entries;
  std::size_t running;   // of these. Those in doubt are among them: until they are settled or
                         // forgotten they take a place, whatever the lease
  std::uint64_t weight;  // of all answers

  // From the beginning. Each call that asks for a run counts in one of these, when it has ended
  // (one that claims, when its ticket has); not if a Key, a Hash or a clock of yours throws.
  std::uint64_t executed, failures, given_up;  // its own run has answered, thrown, done neither
  std::uint64_t shared;                        // it was given what another's run came to
  std::uint64_t replayed, mismatches;          // these count what visit and find come to as well
  std::uint64_t refused, bad_keys;             // for want of room
  std::uint64_t in_flight, in_doubt, reentered, circular, cancelled, timed_out;

  // What is no call of its own:
  std::uint64_t joined;           // waits for another's run, one more after a lease
  std::uint64_t takeovers, lost;  // owners that follow another; that settle a key they have lost
  std::uint64_t evicted, expired, dropped, too_heavy;  // dropped: by evict or forget
};

}  // namespace interlock
