// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/serial_queue.hpp - work of many keys for many machines, in order per key.
//
// Problem     Lists and streams of Redis know no order per key; a stream's XACK by a worker who was
//             taken for dead ends the item of his successor.
// Guarantee   Items of a key are worked on one at a time and in the order of their pushes. No item
//             is lost whatever happens to its worker. A worker who was taken for dead cannot end
//             the item of his successor. An item whose worker is dead is another's after the lease.
//             An item that fails too often is set aside and its key goes on.
// Outcomes    take: conflict: nothing is due. finish, give_back: conflict: it is another's.
//             refused: nothing was done. unknown: sent and not answered; repeat it with its id.
// Durability  As the server writes: see counter.hpp.
// Progress    As store::basic_serial_queue. Leases and delays are measured by the server's clock.
// Cost        A round trip and a script of 10 to 20 microseconds to push, to take and to finish. A
//             key stays known to the queue, some 100 bytes, for its sequence.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Effects that must happen once: see store::basic_serial_queue.
//
// Example     // examples/engines/redis_queue.cpp
//             redis::serial_queue<int> jobs(server, "jobs");
//             jobs.push("account-7", 100).value();

#include "../store/basic_serial_queue.hpp"
#include "client.hpp"

namespace interlock::redis {

template <class T>
using serial_queue = store::basic_serial_queue<T, client>;

}  // namespace interlock::redis
