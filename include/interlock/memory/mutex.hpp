// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/mutex.hpp - a store's lock without a server, for tests.
//
// Problem     What a program does when it loses its lock is to be tested, and without waiting.
// Guarantee   Of the clients that lock a mutex one holds it while its lease is renewed. Each holder
//             has a larger fence than the holders before. A holder is told before his lease ends
//             when no renewal was confirmed.
// Outcomes    lock: applied: a guard. conflict: busy. refused and unknown: by faults on demand.
// Durability  none: it is gone with the last client that shares the data.
// Progress    As store::basic_mutex. With a manual clock, leases end and waits go on as it says.
// Cost        A look-up by name and a lock a call; the threads that renew.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store: std::mutex, interlock::async_mutex.
//
// Example     memory::mutex door(engine, "door");  // examples/engines/store_mutex.cpp
//             auto guard = door.lock({.lease = 5s}).value();

#include "../store/basic_mutex.hpp"
#include "client.hpp"

namespace interlock::memory {

using mutex = store::basic_mutex<client>;

}  // namespace interlock::memory
