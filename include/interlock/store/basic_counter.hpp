// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_counter.hpp - count together with other processes, and lose nothing.
//
// Problem     Load, add one, store: whoever stores what he read erases what others counted. An add
//             that was sent and not answered is lost or counted twice, whatever the caller does.
// Guarantee   No client's add to a counter is lost. An add that is repeated under its id counts
//             once. Each add answers with the value that it produced itself. A sum that does not
//             fit is refused and changes nothing.
// Outcomes    applied: the value. refused: not done. unknown: sent and not answered; repeat it with
//             its id, or until_known(). A load is never unknown.
// Durability  That of the engine, see its counter.hpp; what its client's probed() says.
// Progress    Blocks for one request at most until the call's timeout; async_ forms suspend.
// Cost        One request. No allocation here; an awaited call allocates once.
// Lifetime    A handle: copies are cheap and share the client. It keeps its client.
// Not for     More adds than the engine takes: put a combining_counter in front.
//
// Example     memory::counter hits(engine, "hits");      // examples/engines/store_counter.cpp
//             const auto id = store::operation_id::fresh();
//             auto now = hits.add(1, {.id = id});
//             if (now.unknown()) now = hits.add(1, {.id = id});  // counted once in any case

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "detail/bound_object.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs counter_add, counter_load and counter_exchange.
template <class E>
class basic_counter {
public:
  using value_type = std::int64_t;
  using client_type = E;

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_counter(E client, std::string_view name)
      : at_(std::move(client), object_kind::counter, name) {}

  // Effects: adds n. Returns: the value after.
  outcome<std::int64_t> add(std::int64_t n, const call_options& call = {}) const {
    return client().counter_add(object(), n, call);
  }
  // Effects: subtracts n. Returns: the value after.
  outcome<std::int64_t> sub(std::int64_t n, const call_options& call = {}) const {
    if (n == std::numeric_limits<std::int64_t>::min()) {
      return refusal(at_.failed(errc::bad_argument, "counter.sub",
                                "the smallest number has no "
                                "opposite",
                                "subtract it in two steps"));
    }
    return add(-n, call);
  }
  [[nodiscard]] outcome<std::int64_t> load(const call_options& call = {}) const {
    return client().counter_load(object(), call);
  }
  // Effects: replaces the value. Returns: the value before: exchange(0) drains.
  [[nodiscard(
      "this is what was counted so far, and it is no longer in the counter")]] outcome<std::int64_t>
  exchange(std::int64_t desired, const call_options& call = {}) const {
    return client().counter_exchange(object(), desired, call);
  }

  // Returns: awaitables of what the functions above return.
  [[nodiscard("write co_await")]] auto async_add(std::int64_t n,
                                                 const call_options& call = {}) const {
    return at_.async(call, [*this, n](const call_options& c) { return add(n, c); });
  }
  [[nodiscard("write co_await")]] auto async_sub(std::int64_t n,
                                                 const call_options& call = {}) const {
    return at_.async(call, [*this, n](const call_options& c) { return sub(n, c); });
  }
  [[nodiscard("write co_await")]] auto async_load(const call_options& call = {}) const {
    return at_.async(call, [*this](const call_options& c) { return load(c); });
  }
  [[nodiscard("write co_await")]] auto async_exchange(std::int64_t desired,
                                                      const call_options& call = {}) const {
    return at_.async(call,
                     [*this, desired](const call_options& c) { return exchange(desired, c); });
  }

  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }
  [[nodiscard]] const typename E::object& object() const noexcept { return at_.object(); }

private:
  detail::bound_object<E> at_;
};

}  // namespace interlock::store
