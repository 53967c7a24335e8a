// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/idempotency_options.hpp - how long a run may be silent, an answer is kept, and
// one waits for another's run.

#include <chrono>

#include "../idempotency_outcome.hpp"

namespace interlock::store {

struct idempotency_options {
  // So long after the last heartbeat of a process that runs a key another may run it: 10 ms to a
  // day.
  std::chrono::milliseconds lease = std::chrono::seconds(10);
  // So long an answer is given to those who repeat the request.
  std::chrono::milliseconds keep = std::chrono::hours(24);
  // How long to wait while another process runs the key. 0: in_flight at once.
  std::chrono::milliseconds wait = std::chrono::seconds(30);
  std::chrono::milliseconds poll{20};  // who waits asks so often
};

// Why a request with a key has no answer, though the engine gave one.
struct idempotency_conflict {
  // in_flight: another runs it. payload_mismatch: the key is known with another fingerprint.
  // lost_ownership: f ran here, but so late that the key is another's: nothing of it is kept.
  idempotency_outcome why = idempotency_outcome::in_flight;
  std::chrono::milliseconds remaining{0};  // of the other's lease, unless it is renewed
};

template <class R>
struct idempotent_answer {
  R response;
  idempotency_outcome how = idempotency_outcome::replayed;  // or executed, or joined
  std::uint64_t attempt = 0;  // which run of the key it is from: 2 after one that was lost
};

}  // namespace interlock::store
