// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_bounded_counter.hpp - sell what is in stock, from many processes.
//
// Problem     "Is there enough? Then take it": between question and answer somebody else takes it,
//             and the balance is below zero.
// Guarantee   A bounded counter never passes its bounds however many clients use it. A change that
//             would pass a bound is a conflict and tells the state. A change that is repeated under
//             its id is made once. A bounded counter has the bounds that it was made with.
// Outcomes    applied: the value. conflict: the bound was in the way; conflict() is the state.
//             refused: not done. unknown: sent and not answered; repeat it with its id.
// Durability  That of the engine, see its bounded_counter.hpp; what its client's probed() says.
// Progress    Blocks for one request at most until the call's timeout; async_ forms suspend.
// Cost        One request; one more to construct it. An awaited call allocates once.
// Lifetime    A handle: copies are cheap and share the client. It keeps its client.
// Not for     Amounts that are held for a while and may come back: keep them in cells.
//
// Example     // examples/engines/store_bounded_counter.cpp
//             memory::bounded_counter stock(engine, "stock", {.value = 3, .low = 0, .high = 100});
//             const auto left = stock.try_sub(2);
//             const auto more = stock.try_sub(2);
//             if (more.conflicted()) {
//               std::printf("only %d left\n", static_cast<int>(more.conflict().value));
//             }

#include <cstdint>
#include <string_view>
#include <utility>

#include "detail/bound_object.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs bounded_open, bounded_add and bounded_load.
template <class E>
class basic_bounded_counter {
public:
  using value_type = std::int64_t;
  using client_type = E;
  using answer = outcome<std::int64_t, bounded_state>;

  // Effects: makes the counter, or finds it with these bounds; then it keeps its value.
  // Throws: failure: bad_argument unless low <= value <= high, or for the name; wrong_kind if it
  // has
  //         other bounds; what the engine refuses.
  basic_bounded_counter(E client, std::string_view name, const bounded_state& initial,
                        const call_options& call = {})
      : at_(std::move(client), object_kind::bounded_counter, name) {
    const outcome<bounded_state> found = at_.client().bounded_open(at_.object(), initial, call);
    low_ = found.value().low;
    high_ = found.value().high;
  }

  // Effects: adds n if the sum is at most max(). Refused (bad_argument) if n is negative.
  // Returns: the value after.
  answer try_add(std::int64_t n, const call_options& call = {}) const {
    if (n < 0) return negative("bounded_counter.try_add", "try_sub");
    return client().bounded_add(object(), n, call);
  }
  // Effects: subtracts n if the difference is at least min(). Refused if n is negative.
  // Returns: the value after.
  answer try_sub(std::int64_t n, const call_options& call = {}) const {
    if (n < 0) return negative("bounded_counter.try_sub", "try_add");
    return client().bounded_add(object(), -n, call);
  }
  // Returns: the value. Do not decide on it: ask with try_sub.
  [[nodiscard]] outcome<std::int64_t> load(const call_options& call = {}) const {
    return client().bounded_load(object(), call).map([](const bounded_state& s) {
      return s.value;
    });
  }

  // Returns: awaitables of what the functions above return.
  [[nodiscard("write co_await")]] auto async_try_add(std::int64_t n,
                                                     const call_options& call = {}) const {
    return at_.async(call, [*this, n](const call_options& c) { return try_add(n, c); });
  }
  [[nodiscard("write co_await")]] auto async_try_sub(std::int64_t n,
                                                     const call_options& call = {}) const {
    return at_.async(call, [*this, n](const call_options& c) { return try_sub(n, c); });
  }
  [[nodiscard("write co_await")]] auto async_load(const call_options& call = {}) const {
    return at_.async(call, [*this](const call_options& c) { return load(c); });
  }

  [[nodiscard]] std::int64_t min() const noexcept { return low_; }
  [[nodiscard]] std::int64_t max() const noexcept { return high_; }
  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }
  [[nodiscard]] const typename E::object& object() const noexcept { return at_.object(); }

private:
  [[nodiscard]] refusal negative(const char* operation, const char* instead) const {
    std::string remedy = "use ";
    remedy += instead;
    return refusal(
        at_.failed(errc::bad_argument, operation, "the amount is negative", std::move(remedy)));
  }

  detail::bound_object<E> at_;
  std::int64_t low_ = 0;
  std::int64_t high_ = 0;
};

}  // namespace interlock::store
