// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/bounded_counter.hpp - stock, seats, money: a number with bounds, on Redis.
//
// Problem     GET, compare, DECRBY: two buyers see the last one, and both get it.
// Guarantee   A bounded counter never passes its bounds however many clients use it. A change that
//             would pass a bound is a conflict and tells the state. A change that is repeated under
//             its id is made once. A bounded counter has the bounds that it was made with.
// Outcomes    applied: the value. conflict: the bound was in the way. refused: nothing was changed.
//             unknown: sent and not answered; repeat it with its id.
// Durability  As the server writes: see counter.hpp.
// Progress    The server does one thing at a time. Until the call's deadline.
// Cost        One round trip and a script of 5 microseconds. Exact over all 64 bits.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Numbers without bounds: redis::counter is quicker.
//
// Example     // examples/engines/redis_counter.cpp
//             redis::bounded_counter stock(server, "stock", {.value = 3, .low = 0, .high = 100});
//             const auto left = stock.try_sub(2);

#include "../store/basic_bounded_counter.hpp"
#include "client.hpp"

namespace interlock::redis {

using bounded_counter = store::basic_bounded_counter<client>;

}  // namespace interlock::redis
