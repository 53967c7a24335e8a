// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/serial_queue.hpp - work for the processes of a machine, in order per key.
//
// Problem     Two workers take two jobs of one account, and the second is done first; or a worker
//             is killed after the effect of a job and before its end, and the effect comes twice.
// Guarantee   A queue of SQLite gives a key's items in order to one worker at a time.
//             An item that is finished in the transaction of its effect has it once in SQLite.
// Outcomes    take: conflict: nothing is due, and when something will be. finish, give_back:
//             conflict: it is another's by now. unknown: the system failed in the commit.
// Durability  As the file is set to, see probed() of the client.
// Progress    As store::basic_serial_queue. Leases go by the machine's clock.
// Cost        A transaction each to push, take and finish, and each third of a lease; flushes. With
//             transaction::finish the effect and the end of the item are one.
// Lifetime    A handle: copies are cheap. It keeps its client. Not across fork().
// Not for     Thousands of durable items a second one by one: push several in a transaction.
//
// Example     // examples/engines/sqlite_queue.cpp
//             sqlite::serial_queue<int> jobs(db, "jobs");
//             jobs.push("account-7", 100).value();
//             const auto job = jobs.take().value();
//             sqlite::atomically(db, [&](sqlite::transaction& t) {
//               t.add(balance, job.value());
//               t.finish(jobs, job);
//             }).value();

#include "../store/basic_serial_queue.hpp"
#include "client.hpp"

namespace interlock::sqlite {

template <class T>
using serial_queue = store::basic_serial_queue<T, client>;

}  // namespace interlock::sqlite
