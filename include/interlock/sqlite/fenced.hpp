// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/fenced.hpp - what only the present holder of a lock can write, in a file.
//
// Problem     A holder is stopped, loses his lease and wakes up: he writes over the next's work.
// Guarantee   A fenced resource of SQLite takes only the pair that opened it last.
//             A holder of a lock of SQLite that was stopped beyond its lease writes nothing.
// Outcomes    applied. conflict: another holder has opened it since, with that fence. refused: it
//             was not written. unknown: the system failed in the commit; the same holder may write
//             again.
// Durability  As the file is set to, see probed() of the client.
// Progress    Writes take turns: those of one client in the order of asking.
// Cost        A transaction to open, one to write; a flush each if durable.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Effects elsewhere, which cannot check a fence.
//
// Example     // examples/engines/sqlite_mutex.cpp
//             sqlite::fenced<int> stock(db, "stock");
//             auto now = stock.open(guard).value();  // from here on earlier holders are refused
//             stock.write(now, now.value.value_or(100) - 1).value();

#include "../store/basic_fenced.hpp"
#include "client.hpp"

namespace interlock::sqlite {

template <class T>
using fenced = store::basic_fenced<T, client>;

}  // namespace interlock::sqlite
