// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/mirror_target.hpp - a copy on a server that never goes back.
//
// Problem     Two writes of one value arrive in the other order, and the copy keeps the older one.
// Guarantee   A mirror of PostgreSQL keeps the newest version, deletions too.
//             A deletion in PostgreSQL that comes late deletes nothing newer.
// Outcomes    applied. conflict: what is there is as new or newer. refused: nothing was written.
//             unknown: the answer was lost; put again, which is harmless.
// Durability  As the server commits, see counter.hpp.
// Progress    Writes of one key wait for each other on the server.
// Cost        One statement and one round trip. A deleted key keeps a row for its version.
// Lifetime    A handle: copies are cheap and share the client. Not across fork().
// Not for     Values that are changed here: this is a copy. Epochs and numbers of over 63 bits.
//
// Example     // examples/engines/postgres_queue.cpp
//             postgres::mirror_target<std::string, int> copy(db, "prices");

#include "../store/basic_mirror_target.hpp"
#include "client.hpp"

namespace interlock::postgres {

template <class K, class V>
using mirror_target = store::basic_mirror_target<K, V, client>;

}  // namespace interlock::postgres
