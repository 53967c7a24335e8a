// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_versioned.hpp - a value that several processes read, change and save.
//
// Problem     Two requests read a value, compute, and save: the second save wipes out the first.
// Guarantee   No update of a cell is lost however many clients make it. A stale compare_and_set is
//             a conflict with the current snapshot. A version is never given twice and not even
//             after the cell was erased. A value that does not decode is refused and stays as it
//             is. A store that is repeated under its id is made once.
// Outcomes    applied: the version, or the snapshot. conflict: another version; conflict() is the
//             snapshot. refused: nothing was written. unknown: sent and not answered; repeat it
//             with its id. A load is never unknown.
// Durability  That of the engine, see its versioned.hpp; what its client's probed() says.
// Progress    Blocks for one request at most until the call's timeout; update() for several, with
//             pauses that grow while others win. async_ forms suspend.
// Cost        One request, and the encoding of the value. An awaited call allocates once.
// Lifetime    A handle: copies are cheap and share the client. It keeps its client.
// Not for     A plain number (counter), or several cells at once (transaction).
//
// Example     // examples/engines/store_versioned.cpp
//             memory::versioned<int> wallet(engine, "wallet");
//             wallet.update([](int& money) { money -= 300; }).value();  // anew on conflict
//             const auto seen = wallet.load().value();
//             const auto saved = wallet.compare_and_set(seen.version, *seen.value - 500);
//             if (saved.conflicted()) std::printf("now at %d\n", *saved.conflict().value);

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "codec.hpp"
#include "detail/backoff.hpp"
#include "detail/bound_object.hpp"
#include "detail/changed.hpp"

namespace interlock::store {

template <class E>
class basic_transaction;

// E: an engine's client, of which it needs cell_load and cell_put.
template <encodable T, class E>
class basic_versioned {
public:
  using value_type = T;
  using version_type = std::uint64_t;
  using client_type = E;

  // No value: it never was (version 0), or was erased.
  struct snapshot {
    std::optional<T> value;
    version_type version = 0;
  };

  static constexpr std::size_t usual_attempts = 64;

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_versioned(E client, std::string_view name)
      : at_(std::move(client), object_kind::cell, name) {}

  // Returns: the value and its version, of one moment. Refused with bad_value if it does not
  // decode.
  [[nodiscard]] outcome<snapshot> load(const call_options& call = {}) const {
    outcome<cell_state> found = client().cell_load(object(), call);
    if (!found) return std::move(found).template without_answer<snapshot>();
    return decoded(*found, "versioned.load");
  }

  // Effects: if the cell is at version `expected` (0: it never was), replaces the value.
  // Returns: the new version.
  [[nodiscard("a conflict has changed nothing")]] outcome<version_type, snapshot> compare_and_set(
      version_type expected, const T& desired, const call_options& call = {}) const {
    const std::string bytes = codec<T>::encode(desired);
    return put(expected, bytes, call, "versioned.compare_and_set");
  }
  // Effects: the same, and there is no value afterwards.
  [[nodiscard("a conflict has changed nothing")]] outcome<version_type, snapshot> compare_and_erase(
      version_type expected, const call_options& call = {}) const {
    return put(expected, std::nullopt, call, "versioned.compare_and_erase");
  }

  // Effects: replaces the value, whatever it was. Returns: the new version.
  outcome<version_type> store(const T& desired, const call_options& call = {}) const {
    const std::string bytes = codec<T>::encode(desired);
    return unconditional(client().cell_put(object(), std::nullopt, bytes, call));
  }
  // Effects: there is no value afterwards. Returns: the version of that.
  outcome<version_type> erase(const call_options& call = {}) const {
    return unconditional(client().cell_put(object(), std::nullopt, std::nullopt, call));
  }

  // Effects: replaces the value by what f makes of it, computed anew while others come first, for
  //          as many attempts and as long as the call may take. f is one of
  //            T or std::optional<T> f(const std::optional<T>&)  none: erase
  //            T f(const T&), void f(T&)                         a cell without a value counts as
  //            T()
  // Returns: the new version; refused with too_many_conflicts if others came first each time.
  // Throws: what f throws; nothing was sent then.
  template <class F>
  outcome<version_type> update(F&& f, std::size_t attempts = usual_attempts,
                               const call_options& call = {}) const;

  // Returns: awaitables of what the functions above return.
  [[nodiscard("write co_await")]] auto async_load(const call_options& call = {}) const {
    return at_.async(call, [*this](const call_options& c) { return load(c); });
  }
  [[nodiscard("write co_await")]] auto async_compare_and_set(version_type expected, T desired,
                                                             const call_options& call = {}) const {
    return at_.async(call, [*this, expected, v = std::move(desired)](const call_options& c) {
      return compare_and_set(expected, v, c);
    });
  }
  [[nodiscard("write co_await")]] auto async_compare_and_erase(
      version_type expected, const call_options& call = {}) const {
    return at_.async(
        call, [*this, expected](const call_options& c) { return compare_and_erase(expected, c); });
  }
  [[nodiscard("write co_await")]] auto async_store(T desired, const call_options& call = {}) const {
    return at_.async(
        call, [*this, v = std::move(desired)](const call_options& c) { return store(v, c); });
  }
  [[nodiscard("write co_await")]] auto async_erase(const call_options& call = {}) const {
    return at_.async(call, [*this](const call_options& c) { return erase(c); });
  }
  // f runs on a thread of the client.
  template <class F>
  [[nodiscard("write co_await")]] auto async_update(F f, std::size_t attempts = usual_attempts,
                                                    const call_options& call = {}) const {
    return at_.async(call, [*this, f = std::move(f), attempts](const call_options& c) mutable {
      return update(f, attempts, c);
    });
  }

  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }
  [[nodiscard]] const typename E::object& object() const noexcept { return at_.object(); }

  // Returns: the cell as it is, in the words of T; refused with bad_value if it does not decode.
  [[nodiscard]] outcome<snapshot> decoded(const cell_state& state, const char* operation) const {
    if (!state.bytes) return snapshot{std::nullopt, state.version};
    std::optional<T> value = codec<T>::decode(*state.bytes);
    if (value) return snapshot{std::move(value), state.version};
    std::string detail = "what is stored does not decode: ";
    detail += detail::printable(*state.bytes);
    return refusal(at_.failed(errc::bad_value, operation, std::move(detail),
                              "look for a writer of another type; store() replaces it"));
  }

private:
  template <class Client>
  friend class basic_transaction;

  // Preconditions: no conflict.
  static outcome<version_type> unconditional(outcome<version_type, cell_state> answer) {
    if (answer) return *answer;
    return std::move(answer).template without_answer<version_type, nothing>();
  }
  outcome<version_type, snapshot> put(version_type expected, std::optional<std::string_view> bytes,
                                      const call_options& call, const char* operation) const {
    outcome<version_type, cell_state> answer = client().cell_put(object(), expected, bytes, call);
    if (answer) return *answer;
    if (!answer.conflicted()) {
      return std::move(answer).template without_answer<version_type, snapshot>();
    }
    outcome<snapshot> now = decoded(answer.conflict(), operation);
    if (now) return conflicting<snapshot>{*std::move(now)};
    return std::move(now).template without_answer<version_type, snapshot>();
  }

  detail::bound_object<E> at_;
};

template <encodable T, class E>
template <class F>
auto basic_versioned<T, E>::update(F&& f, std::size_t attempts, const call_options& call) const
    -> outcome<version_type> {
  const detail::call_deadline limit = at_.deadline(call);
  detail::backoff pace(std::chrono::microseconds(200), std::chrono::milliseconds(50));
  for (std::size_t attempt = 0; attempt < attempts; ++attempt) {
    if (attempt > 0 && !detail::pause(pace, limit.at())) break;
    outcome<snapshot> seen = load(limit.rest());
    if (!seen) return std::move(seen).template without_answer<version_type>();
    const std::optional<T> next = detail::changed<T>(f, std::move(seen->value));
    std::optional<std::string> bytes;
    if (next) bytes = codec<T>::encode(*next);
    auto answer = client().cell_put(object(), seen->version, bytes, limit.rest(call.id));
    if (!answer.conflicted()) return unconditional(std::move(answer));
  }
  return refusal(at_.failed(errc::too_many_conflicts, "versioned.update",
                            "others came first each time",
                            "allow more attempts or time, or split the cell"));
}

}  // namespace interlock::store
