// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/idempotency_store.hpp - a request is run once among the processes of a machine.
//
// Problem     A client sends the same POST again; another worker process runs it a second time.
// Guarantee   A key of an idempotency store of SQLite is run by one owner at a time.
//             What SQLite keeps for ids and keys that nobody asks for any more goes away.
// Outcomes    applied: the answer. conflict: see idempotency_conflict. refused: f did not run.
//             unknown: whether the answer is kept, or the key is taken until its lease ends.
// Durability  As the file is set to, see probed() of the client. An answer that is lost is a run
//             that is repeated.
// Progress    As store::basic_idempotency_store. Leases go by the machine's clock.
// Cost        A transaction to claim and one to complete, one each third of a lease; flushes.
// Lifetime    A handle: copies are cheap. It keeps its client. Not across fork().
// Not for     Effects in the same file: run_in_transaction leaves no doubt.
//
// Example     // examples/engines/sqlite_idempotency.cpp
//             sqlite::idempotency_store<std::int64_t> payments(db, "payments");

#include "../store/basic_idempotency_store.hpp"
#include "client.hpp"

namespace interlock::sqlite {

template <class R>
using idempotency_store = store::basic_idempotency_store<R, client>;

}  // namespace interlock::sqlite
