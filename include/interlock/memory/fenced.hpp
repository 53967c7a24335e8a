// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/fenced.hpp - what only a lock's present holder can write, for tests.
//
// Problem     What a program does when its write comes too late is to be tested.
// Guarantee   No write of a former holder takes effect once a later holder has opened the resource.
//             No update is lost that holders make between open and write.
// Outcomes    applied. conflict: a later holder has opened it. refused and unknown: by faults on
//             demand; refused besides for a value over the client's limit.
// Durability  none: it is gone with the last client that shares the data.
// Progress    One lock for all data.
// Cost        A look-up by name, a lock and the encoding of the value a call.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store.
//
// Example     // examples/engines/store_mutex.cpp
//             memory::fenced<int> stock(engine, "stock");

#include "../store/basic_fenced.hpp"
#include "client.hpp"

namespace interlock::memory {

template <class T>
using fenced = store::basic_fenced<T, client>;

}  // namespace interlock::memory
