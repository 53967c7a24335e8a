// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/versioned.hpp - a value that machines read, change and save, on Redis.
//
// Problem     Two read a value, compute, and SET: the second wipes out the first.
// Guarantee   No update of a cell is lost however many clients make it. A stale compare_and_set is
//             a conflict with the current snapshot. A version is never given twice and not even
//             after the cell was erased. A value that does not decode is refused and stays as it
//             is. A store that is repeated under its id is made once.
// Outcomes    applied: the version, or the snapshot. conflict: another version. refused: nothing
//             was written. unknown: sent and not answered; repeat it with its id.
// Durability  As the server writes: see counter.hpp. Versions are times in microseconds, so those
//             that were lost are not given again, unless the server's clock goes back.
// Progress    The server does one thing at a time. Until the call's deadline.
// Cost        One round trip: HMGET, or a script of 6 microseconds. An erased cell keeps its
//             version.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Values of many megabytes: each store sends all of it.
//
// Example     // examples/engines/redis_transaction.cpp
//             redis::versioned<int> from(server, "from");
//             redis::versioned<int> to(server, "to");
//             from.store(1000).value();

#include "../store/basic_versioned.hpp"
#include "client.hpp"

namespace interlock::redis {

template <class T>
using versioned = store::basic_versioned<T, client>;

}  // namespace interlock::redis
