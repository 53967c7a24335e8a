// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/observed_mutex.hpp - a lock in a file that trusts no clock that somebody sets.
//
// Problem     The machine's clock is set forward, and every lease in the file has ended at once.
// Guarantee   An observed mutex of SQLite stays with its holder when the clock is set.
//             Of the processes that lock a mutex of SQLite one holds it while its lease is renewed.
// Outcomes    As those of mutex. A conflict says how long the lease has to be watched still.
// Durability  As the file is set to, see probed() of the client.
// Progress    As store::basic_observed_mutex: who meets a dead holder waits a whole lease.
// Cost        A load and a transaction to lock, one to unlock, one each third of a lease.
// Lifetime    A handle: copies are cheap. It keeps its client. Not across fork().
// Not for     Locks that must change hands quickly after a crash: mutex.
//
// Example     // examples/engines/sqlite_mutex.cpp
//             sqlite::observed_mutex gate(db, "gate");

#include "../store/basic_observed_mutex.hpp"
#include "client.hpp"

namespace interlock::sqlite {

using observed_mutex = store::basic_observed_mutex<client>;

}  // namespace interlock::sqlite
