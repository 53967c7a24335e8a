// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/bounded_counter.hpp - a store's bounded counter without a server, for tests.
//
// Problem     A program that keeps its stock in a store is to be tested without one.
// Guarantee   A bounded counter never passes its bounds however many clients use it. A change that
//             would pass a bound is a conflict and tells the state. A change that is repeated under
//             its id is made once. A bounded counter has the bounds that it was made with.
// Outcomes    applied: the value. conflict: the bound was in the way. refused and unknown: by
//             faults on demand; refused besides for other bounds than it has.
// Durability  none: it is gone with the last client that shares the data.
// Progress    One lock for all data.
// Cost        A look-up by name and a lock a call.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store: interlock::bounded_counter.
//
// Example     // examples/engines/store_bounded_counter.cpp
//             memory::bounded_counter stock(engine, "stock", {.value = 3, .low = 0, .high = 100});
//             const auto left = stock.try_sub(2);

#include "../store/basic_bounded_counter.hpp"
#include "client.hpp"

namespace interlock::memory {

using bounded_counter = store::basic_bounded_counter<client>;

}  // namespace interlock::memory
