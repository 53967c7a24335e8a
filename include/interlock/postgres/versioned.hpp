// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/versioned.hpp - a value in the database that several processes change.
//
// Problem     Two requests read a value, compute, and save: the second save wipes out the first.
// Guarantee   No update of a cell is lost however many clients make it. A stale compare_and_set is
//             a conflict with the current snapshot. A version is never given twice and not even
//             after the cell was erased. A value that does not decode is refused and stays as it
//             is. A store that is repeated under its id is made once.
// Outcomes    applied: the version, or the snapshot. conflict: another version; conflict() is the
//             snapshot. refused: nothing was written. unknown: sent and not answered; repeat it
//             with its id.
// Durability  As the server commits, see counter.hpp. Versions come from a sequence.
// Progress    Blocks for one round trip; update() for several, with pauses while others win.
// Cost        One round trip; a second one to tell the snapshot of a conflict.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     A plain number (counter), or several cells at once (transaction).
//
// Example     // examples/engines/postgres_counter.cpp
//             postgres::versioned<int> wallet(db, "wallet");
//             wallet.update([](int& money) { money += 300; }).value();  // anew on conflict

#include "../store/basic_versioned.hpp"
#include "client.hpp"

namespace interlock::postgres {

template <class T>
using versioned = store::basic_versioned<T, client>;

}  // namespace interlock::postgres
