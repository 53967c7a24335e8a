// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/mirror_target.hpp - a copy in a file that never goes back.
//
// Problem     Two writes of one value arrive in the other order, and the copy keeps the older one.
// Guarantee   A mirror of SQLite keeps the newest version, deletions too.
//             Each operation of SQLite is done once under its id, and its answer comes again.
// Outcomes    applied. conflict: what is there is as new or newer. refused: nothing was written.
//             unknown: the system failed in the commit; put again, which is harmless.
// Durability  As the file is set to, see probed() of the client.
// Progress    Writes take turns: those of one client in the order of asking.
// Cost        One statement, and a flush if durable. A deleted key keeps a row for its version.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Values that are changed here: this is a copy. Epochs and numbers of over 63 bits.
//
// Example     // examples/engines/sqlite_queue.cpp
//             sqlite::mirror_target<std::string, int> copy(db, "prices");

#include "../store/basic_mirror_target.hpp"
#include "client.hpp"

namespace interlock::sqlite {

template <class K, class V>
using mirror_target = store::basic_mirror_target<K, V, client>;

}  // namespace interlock::sqlite
