// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/mutex.hpp - a lease in a row: one holder at a time among all machines.
//
// Problem     Advisory locks end with a session that nobody notices ending, know no fence, and do
//             not go through a pooler.
// Guarantee   Of the clients that lock a mutex one holds it while its lease is renewed. Each holder
//             has a larger fence than the holders before. A holder is told before his lease ends
//             when no renewal was confirmed. A lock whose answer was lost is given to the same
//             owner when it asks again.
// Outcomes    lock: applied: a guard. conflict: busy, and how long the lease lasts. refused: the
//             stop, or the server. unknown: perhaps it is locked until the lease ends. unlock:
//             conflict: it was another's already.
// Durability  As the server commits, see counter.hpp. A fence is the server's clock in microseconds
//             or one more than the last, so it grows even after a restore of older data.
// Progress    Leases end by the server's clock. Who waits asks again and again; no line.
// Cost        One round trip to lock, one to unlock, one each third of a lease.
// Lifetime    A handle: copies are cheap. Guards keep the client. Not across fork().
// Not for     Being alone for sure: write to a fenced resource, or do the work in a transaction.
//
// Example     postgres::mutex door(db, "door");  // examples/engines/postgres_mutex.cpp
//             auto guard = door.lock({.lease = 5s}).value();

#include "../store/basic_mutex.hpp"
#include "client.hpp"

namespace interlock::postgres {

using mutex = store::basic_mutex<client>;

}  // namespace interlock::postgres
