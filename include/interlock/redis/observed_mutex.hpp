// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/observed_mutex.hpp - a lock on Redis that does not trust the server's clock.
//
// Problem     A server's clock that is set forward by a minute ends all its leases at once.
// Guarantee   An observed mutex has one holder whatever is done to the clock of the engine.
//             A lease is taken over by who saw it unrenewed for all its time by his own clock.
// Outcomes    lock: applied: a guard. conflict: busy. refused: not locked. unknown: sent and not
//             answered; its lease is taken over in time.
// Durability  As the server writes: see counter.hpp. After a loss two may hold it.
// Progress    As store::basic_observed_mutex: who comes new waits for a whole lease at least.
// Cost        A round trip for each look, and to renew. More looks than mutex.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Clocks that are left alone: mutex is quicker to take over.
//
// Example     // examples/engines/redis_mutex.cpp
//             redis::observed_mutex gate(server, "gate");

#include "../store/basic_observed_mutex.hpp"
#include "client.hpp"

namespace interlock::redis {

using observed_mutex = store::basic_observed_mutex<client>;

}  // namespace interlock::redis
