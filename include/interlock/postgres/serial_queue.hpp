// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/serial_queue.hpp - work for many machines, in order per key.
//
// Problem     Two workers take two jobs of one account, and the second is done first; a reader of
//             "id > last" skips rows that commit late; a worker that is killed after the effect of
//             a job and before its end does it twice.
// Guarantee   A queue of PostgreSQL gives a key's items in order to one worker at a time.
//             An item that is finished in the transaction of its effect has it once in PostgreSQL.
// Outcomes    take: conflict: nothing is due, and when something will be. finish, give_back:
//             conflict: it is another's by now. unknown: the answer was lost.
// Durability  As the server commits, see counter.hpp.
// Progress    As store::basic_serial_queue. Leases go by the server's clock. Workers pass over
//             keys that others have locked, and never wait for each other.
// Cost        A round trip each to push, take and finish, and each third of a lease. With
//             transaction::finish the effect and the end of the item are one commit.
// Lifetime    A handle: copies are cheap and share the client. Not across fork().
// Not for     Thousands of durable items a second one by one: push several in a transaction.
//
// Example     // examples/engines/postgres_queue.cpp
//             postgres::serial_queue<int> jobs(db, "jobs");
//             jobs.push("account-7", 100).value();
//             const auto job = jobs.take().value();
//             postgres::atomically(db, [&](postgres::transaction& t) {
//               t.add(balance, job.value());
//               t.finish(jobs, job);
//             }).value();

#include "../store/basic_serial_queue.hpp"
#include "client.hpp"

namespace interlock::postgres {

template <class T>
using serial_queue = store::basic_serial_queue<T, client>;

}  // namespace interlock::postgres
