// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/transaction.hpp - read and replace several cells of a Redis server as if alone.
//
// Problem     MULTI cannot read before it writes; WATCH takes three round trips and a connection of
//             its own; locks with a lease end while their holder still believes in them.
// Guarantee   A transaction of a store takes effect as a whole or not at all. The body of a store's
//             transaction never sees two moments at once. A transaction whose reads have changed
//             runs again or is refused. An exception that leaves the body sends nothing. A
//             transaction that is repeated under its id is made once.
// Outcomes    applied: what the body returned. conflict: never; the body runs again. refused:
//             nothing was written. unknown: the commit was sent and not answered; run it again
//             under its id.
// Durability  As the server writes: see counter.hpp. A crash leaves all of a commit or nothing.
// Progress    Optimistic: the body runs again, after a pause that grows, when others came first.
// Cost        A round trip for each read, or one for all with prefetch(); one for the commit.
// Lifetime    The transaction& is the body's, on its thread.
// Not for     Cells of two prefixes or servers. Bodies with effects outside, which come again.
//
// Example     // examples/engines/redis_transaction.cpp
//             const auto moved = redis::atomically(server, [&](redis::transaction& t) {
//               t.prefetch(from, to);  // one request instead of two
//               if (t.read(from).value_or(0) < 300) return false;
//               t.update(from, [](int& money) { money -= 300; });
//               t.update(to, [](int& money) { money += 300; });
//               return true;
//             });

#include "../store/basic_transaction.hpp"
#include "client.hpp"
#include "versioned.hpp"

namespace interlock::redis {

using transaction = store::basic_transaction<client>;
using store::async_atomically;
using store::atomically;

}  // namespace interlock::redis
