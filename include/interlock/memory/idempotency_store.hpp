// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/idempotency_store.hpp - keys that are run once, without a server, for tests.
//
// Problem     What a program answers to a repeated request is to be tested, crashes included.
// Guarantee   Of the callers of a key in all processes one executes while its heartbeat lasts.
//             Whoever repeats a request later gets the answer that was kept. A late owner cannot
//             overwrite what his successor did.
// Outcomes    applied: the answer. conflict: see idempotency_conflict. refused and unknown: by
//             faults on demand; refused besides for keys and answers over the limit.
// Durability  none: it is gone with the last client that shares the data.
// Progress    As store::basic_idempotency_store. With a manual clock, leases end as that says.
// Cost        A look-up by name, a lock and the encoding of the answer a call.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs of one process: interlock::idempotency_cache.
//
// Example     // examples/engines/store_idempotency.cpp
//             memory::idempotency_store<int> payments(engine, "payments");

#include "../store/basic_idempotency_store.hpp"
#include "client.hpp"

namespace interlock::memory {

template <class R>
using idempotency_store = store::basic_idempotency_store<R, client>;

}  // namespace interlock::memory
