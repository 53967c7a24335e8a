// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/counter.hpp - a counter that all clients of a Redis server share.
//
// Problem     GET, add one, SET: machines that do so lose what others counted. INCR sent again
//             after a lost reply counts twice.
// Guarantee   No client's add to a counter is lost. An add that is repeated under its id counts
//             once. Each add answers with the value that it produced itself. A sum that does not
//             fit is refused and changes nothing.
// Outcomes    applied: the value. refused: nothing was added. unknown: sent and not answered, or
//             on fewer replicas than the client waits for; repeat it with its id.
// Durability  As the server writes: power_loss with appendfsync always, process_crash with no, none
//             with everysec or without appendonly; see probed(). Less when a replica takes over.
// Progress    The server does one thing at a time. Until the call's deadline.
// Cost        One round trip: INCRBY or GET; with an id a script, and a key of 200 bytes that the
//             server keeps for the client's retention.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Millions a second one by one: a batch, or a combining_counter in front.
//
// Example     // examples/engines/redis_counter.cpp
//             redis::client server(url);
//             redis::counter hits(server, "hits");
//             const auto id = store::operation_id::fresh();
//             auto now = hits.add(1, {.id = id});
//             if (now.unknown()) now = hits.add(1, {.id = id});  // counted once in any case

#include "../store/basic_counter.hpp"
#include "client.hpp"

namespace interlock::redis {

using counter = store::basic_counter<client>;

}  // namespace interlock::redis
