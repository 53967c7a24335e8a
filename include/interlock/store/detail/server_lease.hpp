// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/server_lease.hpp - a lease that the engine gives, and ends by its clock.

#include <chrono>
#include <cstdint>
#include <utility>

#include "../protocol.hpp"
#include "bound_object.hpp"

namespace interlock::store::detail {

template <class E>
class server_lease {
public:
  using engine_type = E;
  // What the holder knows of his lease.
  struct hold {
    unique_id owner;
    std::uint64_t fence = 0;
  };

  explicit server_lease(bound_object<E> at) : at_(std::move(at)) {}
  [[nodiscard]] const bound_object<E>& at() const noexcept { return at_; }

  // Effects: asks once. Asked again by the same owner, it has the same fence.
  outcome<hold, lease_busy> acquire(const unique_id& owner, std::chrono::milliseconds lease,
                                    const call_options& call) const {
    auto answer = at_.client().lease_acquire(at_.object(), owner, lease, call);
    if (answer) return hold{owner, answer->fence};
    return std::move(answer).template without_answer<hold>();
  }
  outcome<nothing> renew(hold& held, std::chrono::milliseconds lease,
                         const call_options& call) const {
    return at_.client().lease_renew(at_.object(), held.owner, held.fence, lease, call);
  }
  outcome<nothing> release(hold& held, const call_options& call) const {
    return at_.client().lease_release(at_.object(), held.owner, held.fence, call);
  }
  // Effects: the fence becomes larger than `above`.
  outcome<nothing> raise(hold& held, std::uint64_t above, const call_options& call) const {
    auto answer = at_.client().lease_raise(at_.object(), held.owner, held.fence, above, call);
    if (!answer) return std::move(answer).template without_answer<nothing>();
    held.fence = answer->fence;
    return nothing{};
  }

private:
  bound_object<E> at_;
};

}  // namespace interlock::store::detail
