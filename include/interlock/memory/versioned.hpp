// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/versioned.hpp - a store's cell without a server, for tests.
//
// Problem     A program that saves what it read is to be tested without a store, with conflicts.
// Guarantee   No update of a cell is lost however many clients make it. A stale compare_and_set is
//             a conflict with the current snapshot. A version is never given twice and not even
//             after the cell was erased. A value that does not decode is refused and stays as it
//             is. A store that is repeated under its id is made once.
// Outcomes    applied: the version, or the snapshot. conflict: another version. refused and
//             unknown: by faults on demand; refused besides for a value over the client's limit.
// Durability  none: it is gone with the last client that shares the data.
// Progress    One lock for all data.
// Cost        A look-up by name, a lock and the encoding of the value a call.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store: interlock::versioned.
//
// Example     // examples/engines/store_versioned.cpp
//             memory::versioned<int> wallet(engine, "wallet");
//             wallet.store(1000).value();

#include "../store/basic_versioned.hpp"
#include "client.hpp"

namespace interlock::memory {

template <class T>
using versioned = store::basic_versioned<T, client>;

}  // namespace interlock::memory
