// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/bounded_counter.hpp - UPDATE ... WHERE there is enough, for a stock or
// balance.
//
// Problem     "Is there enough? Then take it": between question and answer somebody else takes it.
// Guarantee   A bounded counter never passes its bounds however many clients use it. A change that
//             would pass a bound is a conflict and tells the state. A change that is repeated under
//             its id is made once. A bounded counter has the bounds that it was made with.
// Outcomes    applied: the value. conflict: a bound was in the way; conflict() is the state.
//             refused: not done. unknown: sent and not answered; repeat it with its id.
// Durability  As the server commits, see counter.hpp.
// Progress    One row: changes take turns, each for the time of a commit.
// Cost        One round trip; a second one to tell the state of a conflict.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Balances that change together with other rows: use a transaction.
//
// Example     // examples/engines/postgres_counter.cpp
//             postgres::bounded_counter stock(db, "stock", {.value = 3, .low = 0, .high = 100});
//             if (stock.try_sub(5).conflicted()) std::puts("not enough");

#include "../store/basic_bounded_counter.hpp"
#include "client.hpp"

namespace interlock::postgres {

using bounded_counter = store::basic_bounded_counter<client>;

}  // namespace interlock::postgres
