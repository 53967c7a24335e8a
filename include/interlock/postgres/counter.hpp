// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/counter.hpp - a counter that all clients of a database share.
//
// Problem     Machines that read a row, add one and write it back lose what others counted.
// Guarantee   No client's add to a counter is lost. An add that is repeated under its id counts
//             once. Each add answers with the value that it produced itself. A sum that does not
//             fit is refused and changes nothing.
// Outcomes    applied: the value. refused: nothing was added. unknown: sent and not answered, or
//             the wait for a synchronous standby was cancelled; repeat it with its id.
// Durability  As the server commits: power_loss with fsync and synchronous_commit on, failover with
//             a synchronous standby too; see probed().
// Progress    One row: adds take turns, each for the time of a commit. Until the call's deadline.
// Cost        One round trip, one row written; with an id two.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Many adds to one counter: 1000 a second where a commit takes 1 ms. Put a
//             combining_counter in front.
//
// Example     postgres::counter hits(db, "hits");  // examples/engines/postgres_counter.cpp
//             hits.add(5).value();  // throws if it was not done

#include "../store/basic_counter.hpp"
#include "client.hpp"

namespace interlock::postgres {

using counter = store::basic_counter<client>;

}  // namespace interlock::postgres
