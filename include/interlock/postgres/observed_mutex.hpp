// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/observed_mutex.hpp - a lease that the server's clock cannot cut short.
//
// Problem     A lease that ends by the server's clock goes to the next at once when that is set.
// Guarantee   An observed mutex has one holder whatever is done to the clock of the engine.
//             A lease is taken over by who saw it unrenewed for all its time by his own clock.
//             Each holder of an observed mutex has a larger fence than the holders before.
// Outcomes    As those of mutex.
// Durability  As the server commits, see counter.hpp.
// Progress    Who meets a holder that is dead waits for a whole lease from his first look.
// Cost        Two round trips to lock, one to unlock, one each third of a lease.
// Lifetime    As mutex.
// Not for     Locks that must change hands quickly after a crash: mutex.
//
// Example     postgres::observed_mutex gate(db, "gate");  // examples/engines/postgres_mutex.cpp
//             auto guard = gate.lock({.lease = 5s}).value();

#include "../store/basic_observed_mutex.hpp"
#include "client.hpp"

namespace interlock::postgres {

using observed_mutex = store::basic_observed_mutex<client>;

}  // namespace interlock::postgres
