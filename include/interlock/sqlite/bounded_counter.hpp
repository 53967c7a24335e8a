// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/bounded_counter.hpp - a stock in a file that is never sold twice.
//
// Problem     Two processes see one ticket left, and both sell it.
// Guarantee   A bounded counter of SQLite stays within its bounds however many processes use it.
//             All that a transaction of SQLite does is done or none of it.
// Outcomes    applied: the value. conflict: a bound is in the way; the state. refused: nothing was
//             changed. unknown: the system failed in the commit; repeat it with its id.
// Durability  As the file is set to: by default (WAL, synchronous FULL, a local disk) it survives a
//             power loss; see probed() of the client.
// Progress    Changes take turns: those of one client in the order of asking.
// Cost        One statement and, if durable, one flush; a conflict costs a transaction.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Amounts that are held for a while and may come back: keep them in cells.
//
// Example     // examples/engines/sqlite_counter.cpp
//             sqlite::bounded_counter stock(db, "stock", {.value = 3, .low = 0, .high = 100});
//             const bool sold = stock.try_sub(2).applied();

#include "../store/basic_bounded_counter.hpp"
#include "client.hpp"

namespace interlock::sqlite {

using bounded_counter = store::basic_bounded_counter<client>;

}  // namespace interlock::sqlite
