// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/mirror_target.hpp - a store's copies without a server, for tests.
//
// Problem     A mirror is to be tested without its target, with refused and lost writes.
// Guarantee   A row never goes back to an older version whoever writes it and when.
//             A write that comes late does not bring a deleted row back.
// Outcomes    applied. conflict: the target's row. refused and unknown: by faults on
//             demand; refused besides for keys and values over the limit.
// Durability  none: it is gone with the last client that shares the data.
// Progress    One lock for all data.
// Cost        A look-up by name, a lock and the encoding of key and value a call.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Programs that need no store.
//
// Example     // examples/engines/store_mirror.cpp
//             memory::mirror_target<std::string, int> copies(engine, "likes");

#include "../store/basic_mirror_target.hpp"
#include "client.hpp"

namespace interlock::memory {

template <class K, class V>
using mirror_target = store::basic_mirror_target<K, V, client>;

}  // namespace interlock::memory
