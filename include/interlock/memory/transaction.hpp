// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/transaction.hpp - a store's transaction without a server, for tests.
//
// Problem     A program that moves money between cells of a store is to be tested without one,
//             with transactions that lose and commits that are not answered.
// Guarantee   A transaction of a store takes effect as a whole or not at all. The body of a store's
//             transaction never sees two moments at once. A transaction whose reads have changed
//             runs again or is refused. An exception that leaves the body sends nothing. A
//             transaction that is repeated under its id is made once.
// Outcomes    applied: what the body returned. conflict: never. refused: nothing was written.
//             unknown: by faults on demand; run it again under its id.
// Durability  none: it is gone with the last client that shares the data.
// Progress    Optimistic: the body runs again when others came first.
// Cost        A lock for each read, or one for all with prefetch(), and one for the commit.
// Lifetime    The transaction& is the body's, on its thread.
// Not for     Programs that need no store: interlock::atomically.
//
// Example     // examples/engines/store_transaction.cpp
//             const auto moved = memory::atomically(engine, [&](memory::transaction& t) {

#include "../store/basic_transaction.hpp"
#include "client.hpp"
#include "versioned.hpp"

namespace interlock::memory {

using transaction = store::basic_transaction<client>;
using store::async_atomically;
using store::atomically;

}  // namespace interlock::memory
