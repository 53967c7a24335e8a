// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/versioned.hpp - a value in a file that is replaced only as you have seen it.
//
// Problem     Two processes read a value, compute, and save: the second save wipes out the first.
// Guarantee   Updates of one SQLite cell by two processes are both made.
//             A version of an SQLite cell is not given again after the cell was erased or the file
//             was opened anew.
// Outcomes    applied: the version. conflict: it is at another version; the value there. refused:
//             nothing was written. unknown: the system failed in the commit; repeat it with its id.
// Durability  As the file is set to: by default (WAL, synchronous FULL, a local disk) it survives a
//             power loss; see probed() of the client.
// Progress    Saves take turns: those of one client in the order of asking. Loads wait for nobody.
// Cost        A load: one statement. A save: a transaction of four, and a flush if durable.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Several cells at once (transaction).
//
// Example     // examples/engines/sqlite_counter.cpp
//             sqlite::versioned<std::string> motd(db, "motd");
//             const auto seen = motd.load().value();
//             const bool saved = motd.compare_and_set(seen.version, "closed on Monday").applied();

#include "../store/basic_versioned.hpp"
#include "client.hpp"

namespace interlock::sqlite {

template <class T>
using versioned = store::basic_versioned<T, client>;

}  // namespace interlock::sqlite
