// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/mutex.hpp - one machine at a time, on Redis: a lease with a fence.
//
// Problem     SET NX PX and a DEL: the DEL takes another's lock, the lease ends unnoticed, and
//             after a failover two hold it with fences that went back.
// Guarantee   Of the clients that lock a mutex one holds it while its lease is renewed. Each holder
//             has a larger fence than the holders before. A holder is told before his lease ends
//             when no renewal was confirmed.
// Outcomes    lock: applied: a guard. conflict: busy. refused: not locked. unknown: sent and not
//             answered; its lease ends by itself.
// Durability  As the server writes: see counter.hpp. After a loss two may hold it, and the later
//             has the larger fence all the same: fences are times in microseconds, unless a server
//             takes over whose clock is behind. Write through fenced, which raises such a fence.
// Progress    As store::basic_mutex. Leases are measured by the server's clock.
// Cost        A round trip and a script to lock, to renew and to unlock.
// Lifetime    A handle: copies are cheap. It keeps its client.
// Not for     Servers whose clock is set by hand: observed_mutex. What a late holder must not write
//             without a fenced resource.
//
// Example     redis::mutex door(server, "door");  // examples/engines/redis_mutex.cpp
//             auto former = door.lock({.lease = 50ms, .renew = false}).value();

#include "../store/basic_mutex.hpp"
#include "client.hpp"

namespace interlock::redis {

using mutex = store::basic_mutex<client>;

}  // namespace interlock::redis
