// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/counter.hpp - a store's counter without a server, for tests.
//
// Problem     A program that counts in a store is to be tested without one, lost replies included.
// Guarantee   No client's add to a counter is lost. An add that is repeated under its id counts
//             once. Each add answers with the value that it produced itself. A sum that does not
//             fit is refused and changes nothing.
// Outcomes    applied: the value. refused and unknown: by faults on demand; refused besides for a
//             sum that does not fit in 64 bits.
// Durability  none: it is gone with the last client that shares the data.
// Progress    One lock for all data.
// Cost        A look-up by name and a lock a call.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store: interlock::counter.
//
// Example     memory::counter hits(engine, "hits");  // examples/engines/store_counter.cpp
//             hits.add(5).value();  // throws if it was not done

#include "../store/basic_counter.hpp"
#include "client.hpp"

namespace interlock::memory {

using counter = store::basic_counter<client>;

}  // namespace interlock::memory
