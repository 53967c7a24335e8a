// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/mutex.hpp - one holder at a time among the processes of a machine.
//
// Problem     A nightly job starts twice; one of them hangs, and the file that marks it as running
//             stays for ever.
// Guarantee   Of the processes that lock a mutex of SQLite one holds it while its lease is renewed.
//             A lock of SQLite whose holder was killed is free when its lease has ended.
//             A lease of SQLite is one owner's until its end and its fences grow.
// Outcomes    lock: applied: a guard. conflict: busy, and how long its holder's lease lasts.
//             refused: the stop, or the engine. unknown: the system failed in the commit; perhaps
//             it is locked until a lease ends. unlock: conflict: it was another's already.
// Durability  As the file is set to, see probed() of the client. Fences grow in any case: they are
//             at least the time at which they are given.
// Progress    As store::basic_mutex. Leases go by the machine's clock, which somebody may set:
//             where that matters, observed_mutex.
// Cost        A transaction to lock, to unlock, and each third of a lease; a flush if durable.
// Lifetime    A handle: copies are cheap. It keeps its client. Not across fork().
// Not for     Being alone for sure: write to a fenced resource. Threads of one process: std::mutex.
//
// Example     // examples/engines/sqlite_mutex.cpp
//             sqlite::mutex door(db, "door");
//             auto guard = door.lock({.lease = 5s}).value();

#include "../store/basic_mutex.hpp"
#include "client.hpp"

namespace interlock::sqlite {

using mutex = store::basic_mutex<client>;

}  // namespace interlock::sqlite
