// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/bound_object.hpp - an object together with its client, as a cheap handle.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../protocol.hpp"
#include "deadline.hpp"
#include "names.hpp"
#include "offload.hpp"

namespace interlock::store::detail {

template <class E>
class bound_object {
public:
  // Throws: failure (bad_argument, too_large) for a name that no engine takes.
  bound_object(E client, object_kind kind, std::string_view name)
      : held_(std::make_shared<held>(std::move(client), kind, name)) {}

  [[nodiscard]] E& client() const noexcept { return held_->client; }
  [[nodiscard]] const typename E::object& object() const noexcept { return held_->object; }
  [[nodiscard]] std::string_view name() const noexcept { return held_->object.name(); }
  [[nodiscard]] call_deadline deadline(const call_options& call) const {
    return {call, held_->client.options().timeout};
  }

  [[nodiscard]] error failed(errc code, const char* operation, std::string detail,
                             std::string remedy) const {
    return {
        code, E::engine_name, operation, printable(name()), std::move(detail), std::move(remedy)};
  }

  // Returns: an awaitable of f(call), which blocks on a thread of the client. The time of the call
  //          runs from now. f keeps what it needs by value, this object included.
  template <class F>
  [[nodiscard]] auto async(const call_options& call, F f) const {
    auto job = [f = std::move(f), call = call_options(call), limit = deadline(call)]() mutable {
      call.timeout = limit.timeout_left();
      return f(std::as_const(call));
    };
    return offloaded<E, decltype(job)>(held_->client, std::move(job));
  }

private:
  struct held {
    held(E&& of, object_kind kind, std::string_view name)
        : client(std::move(of)), object(client.object_named(kind, name)) {}
    E client;
    typename E::object object;
  };

  std::shared_ptr<held> held_;
};

}  // namespace interlock::store::detail
