// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_observed_mutex.hpp - a lock whose lease no clock of a server can cut short.
//
// Problem     A lease that the server ends by its clock goes to the next at once when somebody sets
//             that clock forward, and never ends when it is set back.
// Guarantee   An observed mutex has one holder whatever is done to the clock of the engine.
//             A lease is taken over by who saw it unrenewed for all its time by his own clock.
//             Each holder of an observed mutex has a larger fence than the holders before.
// Outcomes    As those of basic_mutex. A conflict says how long the lease has to be watched still.
// Durability  That of the engine's cells, see its versioned.hpp: a lock that is lost lets two in,
//             which a fenced resource notices.
// Progress    As basic_mutex. Who meets a holder that is dead waits for a whole lease from the
//             moment he first looked, a hundredth more. try_lock counts as a look.
// Cost        Two requests to lock, one to unlock, one each third of a lease: a cell each.
// Lifetime    As basic_mutex. What one handle and its copies saw, they share.
// Resumes on  async_ forms: a thread of the client.
// Cancellation By an inplace_stop_token: the wait ends, not a request that is under way.
// Not for     Locks that must change hands quickly after a crash: basic_mutex. Not for writes
//             without a fence, as basic_mutex.
//
// Example     memory::observed_mutex gate(engine, "gate");  // examples/engines/store_mutex.cpp
//             auto guard = gate.lock({.lease = 5s}).value();

#include <string>
#include <string_view>
#include <utility>

#include "detail/lease_mutex.hpp"
#include "detail/observed_lease.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs cell_load and cell_put.
template <class E>
class basic_observed_mutex : detail::lease_mutex<detail::observed_lease<E>> {
  using calls = detail::lease_mutex<detail::observed_lease<E>>;
  // Before the name of its cell: no cell that a person names begins with it.
  static constexpr std::string_view mark = "\x01observed_mutex\x01";

public:
  using client_type = E;
  using typename calls::guard;   // lease_guard of this kind
  using typename calls::result;  // outcome<guard, lease_busy>

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 496 bytes.
  basic_observed_mutex(E client, std::string_view name)
      : calls(detail::observed_lease<E>({std::move(client), object_kind::cell, marked(name)})) {}

  // As those of basic_mutex.
  using calls::async_lock;
  using calls::async_lock_until;
  using calls::async_try_lock;
  using calls::lock;
  using calls::lock_until;
  using calls::try_lock;

  [[nodiscard]] std::string_view name() const noexcept {
    return calls::at().name().substr(mark.size());
  }
  [[nodiscard]] E& client() const noexcept { return calls::at().client(); }

private:
  static std::string marked(std::string_view name) {
    return name.empty() ? std::string() : std::string(mark).append(name);  // "" is refused
  }
};

}  // namespace interlock::store
