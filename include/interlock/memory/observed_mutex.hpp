// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/observed_mutex.hpp - a lock that trusts no clock of an engine, for tests.
//
// Problem     What happens to a lock while the engine's clock jumps is to be tested.
// Guarantee   An observed mutex has one holder whatever is done to the clock of the engine.
//             A lease is taken over by who saw it unrenewed for all its time by his own clock.
// Outcomes    lock: applied: a guard. conflict: busy. refused and unknown: by faults on demand.
// Durability  none: it is gone with the last client that shares the data.
// Progress    As store::basic_observed_mutex. With a manual clock, waits go on as that says.
// Cost        A look-up by name and a lock a call; the threads that renew.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store: std::mutex, interlock::async_mutex.
//
// Example     // examples/engines/store_mutex.cpp
//             memory::observed_mutex gate(engine, "gate");

#include "../store/basic_observed_mutex.hpp"
#include "client.hpp"

namespace interlock::memory {

using observed_mutex = store::basic_observed_mutex<client>;

}  // namespace interlock::memory
