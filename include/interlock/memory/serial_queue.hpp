// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/serial_queue.hpp - work in order per key, without a server, for tests.
//
// Problem     What a program does with items that come twice, late or broken is to be tested.
// Guarantee   Items of a key are worked on one at a time and in the order of their pushes.
//             An item whose worker is dead is another's after the lease. An item that fails too
//             often is set aside and its key goes on.
// Outcomes    take: conflict: nothing is due. finish, give_back: conflict: it is another's. refused
//             and unknown: by faults on demand; refused besides for keys and values over the limit.
// Durability  none: it is gone with the last client that shares the data.
// Progress    As store::basic_serial_queue. With a manual clock, leases end as that says.
// Cost        A look at each key of the queue a take. Keys stay known.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs of one process: interlock::keyed_serial_queue.
//
// Example     memory::serial_queue<int> jobs(engine, "jobs");  // examples/engines/store_queue.cpp
//             jobs.push("account-7", 100).value();

#include "../store/basic_serial_queue.hpp"
#include "client.hpp"

namespace interlock::memory {

template <class T>
using serial_queue = store::basic_serial_queue<T, client>;

}  // namespace interlock::memory
