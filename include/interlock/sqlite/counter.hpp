// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/counter.hpp - a counter in a file that processes of one machine share.
//
// Problem     Processes that read a row, add one and write it back lose what others counted.
// Guarantee   Two processes on one SQLite file lose no update of one another.
//             What a killed writer asked last is done once, if it is asked again under its id.
//             A writer that is killed loses no acknowledged write of SQLite.
// Outcomes    applied: the value. refused: nothing was added; the file was held by another process
//             until the deadline (busy), the disk is full, the sum does not fit. unknown: the
//             system failed in the commit; repeat it with its id.
// Durability  As the file is set to: by default (WAL, synchronous FULL, a local disk) it survives a
//             power loss; see probed() of the client.
// Progress    Adds take turns: those of one client in the order of asking.
// Cost        One statement and, if durable, one flush of the disk; with an id, five statements.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Many durable adds at once: put a combining_counter in front.
//
// Example     sqlite::counter hits(db, "hits");  // examples/engines/sqlite_counter.cpp
//             hits.add(5).value();  // throws if it was not done

#include "../store/basic_counter.hpp"
#include "client.hpp"

namespace interlock::sqlite {

using counter = store::basic_counter<client>;

}  // namespace interlock::sqlite
