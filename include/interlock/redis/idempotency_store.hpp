// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/idempotency_store.hpp - what all machines run once for a key, by Redis.
//
// Problem     SET NX with a time to live: the holder is slow, the key ends, another runs it too,
//             and the first one overwrites or deletes what the second kept.
// Guarantee   Of the callers of a key in all processes one executes while its heartbeat lasts.
//             Whoever repeats a request later gets the answer that was kept. A late owner cannot
//             overwrite what his successor did.
// Outcomes    applied: the answer. conflict: see idempotency_conflict. refused: nothing was kept.
//             unknown: sent and not answered; ask again, as the same owner.
// Durability  As the server writes: see counter.hpp. An answer is kept as long as was asked for;
//             attempts go on counting for the client's retention after that.
// Progress    As store::basic_idempotency_store. Leases are measured by the server's clock.
// Cost        A round trip and a script to claim, and to complete.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Effects in an SQL database: its own store records them in the same transaction.
//
// Example     // examples/engines/redis_idempotency.cpp
//             redis::idempotency_store<int> payments(server, "payments");
//             const auto paid = payments.run(key, interlock::fingerprint_of(body), pay);

#include "../store/basic_idempotency_store.hpp"
#include "client.hpp"

namespace interlock::redis {

template <class R>
using idempotency_store = store::basic_idempotency_store<R, client>;

}  // namespace interlock::redis
