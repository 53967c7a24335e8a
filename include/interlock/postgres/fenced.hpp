// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/fenced.hpp - a row that only the present holder of a lock can write.
//
// Problem     A lock's holder is stopped, loses his lease, wakes up, and writes over what the next
//             holder has done.
// Guarantee   No write of a former holder takes effect once a later holder has opened the resource.
//             No update is lost that holders make between open and write.
//             Two holders with equal fences are told apart by their owners.
//             A lock whose fence fell behind its resource is raised above it and opens it.
// Outcomes    applied. conflict: another holder has opened it since. refused: not written. unknown:
//             a write that was not answered; the same holder may write again.
// Durability  As the server commits, see counter.hpp. The lock may be on another engine.
// Progress    Blocks for a round trip until the call's timeout; async_ forms suspend.
// Cost        One round trip to open, one a write; one more to tell the watermark of a conflict.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Resumes on  async_ forms: a thread of the client.
// Cancellation None: a request that was sent is done or not.
// Not for     Rows of your own: compare (fence, owner) in their WHERE, as this does.
//
// Example     postgres::fenced<int> stock(db, "stock");  // examples/engines/postgres_mutex.cpp
//             auto now = stock.open(guard).value();
//             stock.write(now, now.value.value_or(100) - 1).value();

#include "../store/basic_fenced.hpp"
#include "client.hpp"

namespace interlock::postgres {

template <class T>
using fenced = store::basic_fenced<T, client>;

}  // namespace interlock::postgres
