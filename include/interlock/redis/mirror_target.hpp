// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/mirror_target.hpp - copies of rows on Redis that never go back.
//
// Problem     INCR here, SET there: the SETs of two machines come in the other order, and the copy
//             stays behind for ever.
// Guarantee   A row never goes back to an older version whoever writes it and when.
//             A write that comes late does not bring a deleted row back.
// Outcomes    applied. conflict: the target's row, which is as new. refused: nothing was written.
//             unknown: sent and not answered; writing it again is harmless.
// Durability  As the server writes: see counter.hpp.
// Progress    Until the call's deadline.
// Cost        A round trip and a script of 6 microseconds; a deleted row keeps its version.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Sources without a version of their own.
//
// Example     // examples/engines/redis_queue.cpp
//             redis::mirror_target<std::string, int> copies(server, "balances");

#include "../store/basic_mirror_target.hpp"
#include "client.hpp"

namespace interlock::redis {

template <class K, class V>
using mirror_target = store::basic_mirror_target<K, V, client>;

}  // namespace interlock::redis
