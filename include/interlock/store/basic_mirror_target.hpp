// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_mirror_target.hpp - copies of a source's rows, of which the newest stays.
//
// Problem     Copies are written by several processes, late, twice and out of order: INCR here and
//             UPDATE there is wrong within an hour. A row that was deleted comes back.
// Guarantee   A row never goes back to an older version whoever writes it and when.
//             A write that comes late does not bring a deleted row back.
//             A mirror in front of a target brings it to the source's last value.
// Outcomes    applied. conflict: the target's row, whose version is not smaller. refused: not
//             written. unknown: sent and not answered; the same again is harmless. get is never
//             unknown.
// Durability  That of the engine, see its mirror_target.hpp.
// Progress    Blocks for one request at most until the call's timeout; async_ forms suspend.
// Cost        One request. Deleted rows stay, without their bytes.
// Lifetime    A handle: copies are cheap and share the client. It keeps its client.
// Resumes on  async_ forms: a thread of the client.
// Cancellation None: a request that was sent is done or not. The coroutine may be destroyed.
// Not for     Updates that must all arrive: serial_queue. Versions from clocks of several machines.
//
// Example     // examples/engines/store_mirror.cpp
//             memory::mirror_target<std::string, int> copies(engine, "likes");
//             keyed_mirror<std::string, int, mirror_version> rows(read, copies, {.parallel = 2});
//             rows.touch("dog");  // copies.put_if_newer("dog", version, value) follows

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../mirror_options.hpp"
#include "../mirror_version.hpp"
#include "codec.hpp"
#include "detail/bound_object.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs mirror_put and mirror_get.
template <encodable K, encodable V, class E>
class basic_mirror_target {
public:
  using key_type = K;
  using value_type = V;
  using client_type = E;
  struct row {
    std::optional<V> value;                 // none: deleted, or it never was
    std::optional<mirror_version> version;  // none: it never was
  };

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_mirror_target(E client, std::string_view name)
      : at_(std::move(client), object_kind::mirror, name) {}

  // Effects: replaces the row, if its version is smaller.
  outcome<nothing, row> put_if_newer(const K& key, mirror_version version, const V& value,
                                     const call_options& call = {}) const {
    const std::string bytes = codec<V>::encode(value);
    return put(key, version, bytes, call);
  }
  // Effects: deletes the row, if its version is smaller. The version stays.
  outcome<nothing, row> erase(const K& key, mirror_version version,
                              const call_options& call = {}) const {
    return put(key, version, std::nullopt, call);
  }
  [[nodiscard]] outcome<row> get(const K& key, const call_options& call = {}) const {
    auto said = at_.client().mirror_get(at_.object(), codec<K>::encode(key), call);
    if (!said) return std::move(said).template without_answer<row>();
    return decoded(*said, key);
  }

  // What a keyed_mirror calls for its target: one with mirror_versions, or numbers (epoch 0).
  mirror_write_result operator()(const K& key, const std::optional<V>& value,
                                 const mirror_version& version) const {
    const auto said = value ? put_if_newer(key, version, *value) : erase(key, version);
    switch (said.status()) {
      case status::applied:
        return mirror_write_result::applied;
      case status::conflict:
        return mirror_write_result::stale;
      case status::refused:
        return mirror_write_result::failed;
      case status::unknown:
        break;
    }
    return mirror_write_result::unknown;
  }
  mirror_write_result operator()(const K& key, const std::optional<V>& value,
                                 std::uint64_t version) const {
    return (*this)(key, value, mirror_version{0, version});
  }
  // Returns: what a mirror (of one value) calls for its target: this key.
  [[nodiscard]] auto row_of(K key) const {
    return
        [self = *this, key = std::move(key)](const std::optional<V>& value, const auto& version) {
          return self(key, value, version);
        };
  }

  // Returns: awaitables of what the functions above return.
  [[nodiscard("write co_await")]] auto async_put_if_newer(K key, mirror_version version, V value,
                                                          const call_options& call = {}) const {
    return at_.async(call,
                     [self = *this, k = std::move(key), version, v = std::move(value)](
                         const call_options& c) { return self.put_if_newer(k, version, v, c); });
  }
  [[nodiscard("write co_await")]] auto async_erase(K key, mirror_version version,
                                                   const call_options& call = {}) const {
    return at_.async(call, [self = *this, k = std::move(key), version](const call_options& c) {
      return self.erase(k, version, c);
    });
  }
  [[nodiscard("write co_await")]] auto async_get(K key, const call_options& call = {}) const {
    return at_.async(
        call, [self = *this, k = std::move(key)](const call_options& c) { return self.get(k, c); });
  }

  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }

private:
  outcome<nothing, row> put(const K& key, mirror_version version,
                            std::optional<std::string_view> bytes, const call_options& call) const {
    auto said = at_.client().mirror_put(at_.object(), codec<K>::encode(key), version, bytes, call);
    if (said) return nothing{};
    if (!said.conflicted()) return std::move(said).template without_answer<nothing, row>();
    outcome<row> now = decoded(said.conflict(), key);
    if (now) return conflicting<row>{*std::move(now)};
    return conflicting<row>{row{std::nullopt, said.conflict().version}};  // newer, and not a V
  }
  outcome<row> decoded(const mirror_row& state, const K& key) const {
    if (!state.bytes) return row{std::nullopt, state.version};
    std::optional<V> value = codec<V>::decode(*state.bytes);
    if (value) return row{std::move(value), state.version};
    std::string detail = "the row of key '";
    detail += detail::printable(codec<K>::encode(key));
    detail += "' does not decode: ";
    detail += detail::printable(*state.bytes);
    return refusal(at_.failed(errc::bad_value, "mirror_target.get", std::move(detail),
                              "look for a writer of another type"));
  }

  detail::bound_object<E> at_;
};

}  // namespace interlock::store
