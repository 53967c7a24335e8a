// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_fenced.hpp - what only the present holder of a lock can write.
//
// Problem     A lock's holder is stopped, loses his lease and wakes up: he writes over what the
//             next holder has done. A fence that is checked at the write alone comes too late, when
//             the next holder has read and not written yet.
// Guarantee   No write of a former holder takes effect once a later holder has opened the resource.
//             No update is lost that holders make between open and write.
//             Two holders with equal fences are told apart by their owners.
//             A lock whose fence fell behind its resource is raised above it and opens it.
// Outcomes    applied. conflict: another holder has opened it since, with that fence. refused: it
//             was not written. unknown: a write that was sent and not answered; the same holder may
//             write again. open is repeated while it is unknown: it changes no value.
// Durability  That of the engine, see its fenced.hpp. The lock may keep less: a lock that lets two
//             in costs the slower one a conflict and nothing else.
// Progress    Blocks for a request until the call's timeout; async_ forms suspend.
// Cost        One request to open, one a write. No reads beside.
// Lifetime    A handle: copies are cheap and share the client. It keeps its client.
// Resumes on  async_ forms: a thread of the client.
// Cancellation None: a request that was sent is done or not. The coroutine may be destroyed.
// Not for     Effects elsewhere, which cannot check a fence: give them fence and owner as their
//             idempotency key.
//
// Example     memory::fenced<int> stock(engine, "stock");  // examples/engines/store_mutex.cpp
//             auto now = stock.open(guard).value();  // from here on earlier holders are refused
//             stock.write(now, now.value.value_or(100) - 1).value();

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "codec.hpp"
#include "detail/ask_again.hpp"
#include "detail/bound_object.hpp"
#include "detail/changed.hpp"

namespace interlock::store {

// A guard, or a pair of fence and owner that comes from elsewhere.
struct fence_and_owner {
  std::uint64_t fence = 0;
  unique_id owner;
};

// E: an engine's client, of which it needs fenced_open and fenced_write.
template <encodable T, class E>
class basic_fenced {
public:
  using value_type = T;
  using client_type = E;

  // The resource as it was opened, and by whom.
  struct opened {
    std::optional<T> value;  // none: never written
    fence_and_owner by;
  };

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_fenced(E client, std::string_view name)
      : at_(std::move(client), object_kind::fenced, name) {}

  // Effects: refuses from now on all writes of those who opened it before. To be called before the
  //          holder decides anything by the value. Each time: an id of the call is not used.
  // Returns: what is there; conflict with the watermark, if a later holder has opened it already.
  outcome<opened, stale_fence> open(const fence_and_owner& by, const call_options& call = {}) const;

  // Effects: the same for the holder of a lock, whose fence is raised first if it has fallen behind
  //          the resource: the lock lost its history, or is another one than before.
  // Returns: refused, with the error of the raise, if that was refused or not answered.
  template <class Guard>
  requires requires(Guard& guard, const call_options& call) {
    { guard.raise(guard.fence(), call) } -> std::same_as<outcome<std::uint64_t>>;
    guard.owner();
  }
  outcome<opened, stale_fence> open(Guard& guard, const call_options& call = {}) const {
    const detail::call_deadline limit = at_.deadline(call);
    auto said = open(fence_and_owner{guard.fence(), guard.owner()}, limit.rest());
    if (!said.conflicted()) return said;
    const auto raised = guard.raise(said.conflict().watermark, limit.rest());
    if (raised.conflicted()) return said;
    if (!raised) return refusal(raised.error());  // nobody knows that it cannot be opened
    return open(fence_and_owner{*raised, guard.owner()}, limit.rest());
  }

  // Effects: replaces the value, if nobody else has opened it since.
  outcome<nothing, stale_fence> write(const opened& as, const T& value,
                                      const call_options& call = {}) const {
    const std::string bytes = codec<T>::encode(value);
    return at_.client().fenced_write(at_.object(), as.by.fence, as.by.owner, bytes, call);
  }

  // Effects: opens it and writes what f makes of the value: T f(const std::optional<T>&), T f(const
  //          T&) or void f(T&); where nothing was written yet, the latter two are given a T().
  // Returns: what was written; under an id, which may have been used before, what is there then,
  //          for a request more; unknown if that is not answered, or another has opened it since,
  //          though it is written. A conflict says that nothing was written under the id so far.
  // Throws: what f throws; nothing was written then.
  template <class Guard, class F>
  outcome<T, stale_fence> modify(Guard&& guard, F&& f, const call_options& call = {}) const {
    const detail::call_deadline limit = at_.deadline(call);
    auto found = open(guard, limit.rest());  // the id is the write's
    if (found.conflicted() && call.id) return came_too_late(found.conflict(), limit.rest(call.id));
    if (!found) return std::move(found).template without_answer<T>();
    const std::optional<T> next = detail::changed<T>(f, found->value);
    if (!next) {
      return refusal(at_.failed(errc::bad_argument, "fenced.modify", "the function gave no value",
                                "a fenced resource cannot be erased: give a value for that"));
    }
    auto said = write(*found, *next, limit.rest(call.id));
    if (!said) return std::move(said).template without_answer<T>();
    if (call.id) {
      auto now = open(found->by, limit.rest());
      if (now && now->value) return *std::move(now->value);
      if (now.refused() || now.unknown()) return doubt(now.error(), call.id);
      return written_unseen(call.id);
    }
    return *next;
  }

  // Returns: awaitables of what the functions above return.
  [[nodiscard("write co_await")]] auto async_open(const fence_and_owner& by,
                                                  const call_options& call = {}) const {
    return at_.async(call, [self = *this, by](const call_options& c) { return self.open(by, c); });
  }
  [[nodiscard("write co_await")]] auto async_write(const opened& as, T value,
                                                   const call_options& call = {}) const {
    return at_.async(call, [self = *this, as = opened{{}, as.by}, v = std::move(value)](
                               const call_options& c) { return self.write(as, v, c); });
  }

  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }

private:
  // Returns: conflict, if nothing was written under the id before another opened the resource. It
  //          is asked about by a write of nobody who opened it, which is not done anew.
  outcome<T, stale_fence> came_too_late(const stale_fence& other, const call_options& call) const {
    const auto said =
        at_.client().fenced_write(at_.object(), 0, unique_id::fresh(), std::string_view(), call);
    if (said.conflicted()) return conflicting{other};
    if (said) return written_unseen(call.id);
    return doubt(said.error(), call.id);
  }
  [[nodiscard]] doubt written_unseen(const operation_id& id) const {
    return doubt(at_.failed(errc::engine_failure, "fenced.modify",
                            "it was written, and another opened it before it was looked at",
                            "open it to see what is there"),
                 id);
  }
  outcome<opened, stale_fence> decoded(const fenced_state& state, const fence_and_owner& by) const {
    if (!state.bytes) return opened{std::nullopt, by};
    std::optional<T> value = codec<T>::decode(*state.bytes);
    if (value) return opened{std::move(value), by};
    std::string detail = "what is stored does not decode: ";
    detail += detail::printable(*state.bytes);
    return refusal(at_.failed(errc::bad_value, "fenced.open", std::move(detail),
                              "look for a writer of another type"));
  }

  detail::bound_object<E> at_;
};

template <encodable T, class E>
auto basic_fenced<T, E>::open(const fence_and_owner& by, const call_options& call) const
    -> outcome<opened, stale_fence> {
  // Never under an id: an answer that was kept may be another holder's, and opens nothing.
  auto said = detail::ask_again(at_.deadline(call), {}, [&](const call_options& each) {
    return at_.client().fenced_open(at_.object(), by.fence, by.owner, each);
  });
  if (said) return decoded(*said, by);
  return std::move(said).template without_answer<opened>();
}

}  // namespace interlock::store
