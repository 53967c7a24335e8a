// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/fenced.hpp - what only a lock's present holder can write, on Redis.
//
// Problem     A holder that was stopped for longer than its lease wakes up and writes over what the
//             next one did.
// Guarantee   No write of a former holder takes effect once a later holder has opened the resource.
//             No update is lost that holders make between open and write.
// Outcomes    applied. conflict: a later holder has opened it. refused: nothing was written.
//             unknown: sent and not answered; writing the same again is harmless.
// Durability  As the server writes: see counter.hpp.
// Progress    Until the call's deadline.
// Cost        A round trip and a script to open and to write.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Effects elsewhere: give those the fence to check.
//
// Example     // examples/engines/redis_mutex.cpp
//             redis::fenced<int> stock(server, "stock");

#include "../store/basic_fenced.hpp"
#include "client.hpp"

namespace interlock::redis {

template <class T>
using fenced = store::basic_fenced<T, client>;

}  // namespace interlock::redis
