// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_mutex.hpp - one holder at a time among all processes, until his lease ends.
//
// Problem     A lock that outlives its holder's crash has to end by itself, and then a holder who
//             was only slow goes on writing beside the next one. Renewals that fail are logged, and
//             the holder is never told.
// Guarantee   Of the clients that lock a mutex one holds it while its lease is renewed. Each holder
//             has a larger fence than the holders before. A holder is told before his lease ends
//             when no renewal was confirmed. A lock whose answer was lost is given to the same
//             owner when it asks again. A callback that blocks holds up no renewal.
// Outcomes    lock: applied: a guard. conflict: busy, and how long its holder's lease lasts.
//             refused: the stop, or the engine. unknown: perhaps it is locked until a lease ends.
//             unlock: conflict: it was another's already.
// Durability  That of the engine, see its mutex.hpp: a lock that is lost lets two in, which a
//             fenced resource notices.
// Progress    lock blocks: it asks every lock_options::poll, less up to a half at random, until the
//             wait is over; nobody stands in line. async_lock waits without a thread.
// Cost        One request to lock, one to unlock, one each third of a lease. A few allocations.
// Lifetime    A handle: copies are cheap and share the client. Guards keep the client. Ends before
//             main does. Not across fork().
// Resumes on  async_ forms: a thread of the client.
// Cancellation By an inplace_stop_token: the wait ends, not a request that is under way.
// Not for     Being alone for sure: the holder may be stopped between a look at lost() and a write.
//             Write to a fenced resource. Not for threads of one process: std::mutex.
//
// Example     memory::mutex door(engine, "door");  // examples/engines/store_mutex.cpp
//             auto guard = door.lock({.lease = 5s}).value();
//             while (work_left() && !guard.lost().stop_requested()) do_some(guard.fence());
//             guard.unlock().value();  // throws if it was another's

#include <string_view>
#include <utility>

#include "detail/lease_mutex.hpp"
#include "detail/server_lease.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs the lease functions.
template <class E>
class basic_mutex : detail::lease_mutex<detail::server_lease<E>> {
  using calls = detail::lease_mutex<detail::server_lease<E>>;

public:
  using client_type = E;
  using typename calls::guard;   // lease_guard of this kind
  using typename calls::result;  // outcome<guard, lease_busy>

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_mutex(E client, std::string_view name)
      : calls(detail::server_lease<E>({std::move(client), object_kind::mutex, name})) {}

  // result lock(lock_options = {}, stop token = {}), lock(stop token)
  // Effects: waits until the lock is free, how.wait has passed or the stop is requested.
  // Returns: a guard; conflict if it was held to the end of the wait.
  using calls::lock;
  // result lock_until(steady_clock::time_point, lock_options = {}, stop token = {})
  // Effects: the same, but the wait ends then at the latest.
  using calls::lock_until;
  // result try_lock(lock_options = {})
  // Effects: asks once.
  using calls::try_lock;
  // Tasks of what the functions above return. The stop ends the wait within a poll.
  using calls::async_lock;
  using calls::async_lock_until;
  using calls::async_try_lock;

  [[nodiscard]] std::string_view name() const noexcept { return calls::at().name(); }
  [[nodiscard]] E& client() const noexcept { return calls::at().client(); }
};

}  // namespace interlock::store
