// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/idempotency_store.hpp - keys that are run once among all machines.
//
// Problem     A client sends the same POST again, to another server; the first one may be running
//             it, or have crashed over it.
// Guarantee   Of the callers of a key in all processes one executes while its heartbeat lasts.
//             Whoever repeats a request later gets the answer that was kept. A late owner cannot
//             overwrite what his successor did.
// Outcomes    applied: the answer. conflict: see idempotency_conflict. refused: f did not run.
//             unknown: whether its answer is kept; or perhaps the key is taken until a lease ends.
// Durability  As the server commits, see counter.hpp.
// Progress    run blocks while f runs, and while another does. Leases end by the server's clock.
// Cost        Two round trips for a run; two for a repetition, which reads what it finds.
// Lifetime    A handle: copies are cheap and share the client. Not across fork().
// Not for     Effects in the same database: run_in_transaction makes them once whatever crashes.
//
// Example     // examples/engines/postgres_idempotency.cpp
//             const postgres::idempotency_store<std::int64_t> payments(db, "payments");

#include "../store/basic_idempotency_store.hpp"
#include "client.hpp"

namespace interlock::postgres {

template <class R>
using idempotency_store = store::basic_idempotency_store<R, client>;

}  // namespace interlock::postgres
