// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/lease_guard.hpp - a lock that is held, and what its holder has to know.
//
// What the mutexes of stores give. The holder is told by lost() when no renewal was confirmed in
// time, before anybody else can have the lock. A holder who is stopped in between knows nothing of
// it: what he writes has to carry fence() and owner() to a fenced resource.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "../inplace_stop_token.hpp"
#include "boot_clock.hpp"
#include "detail/held_lease.hpp"
#include "operation_id.hpp"
#include "outcome.hpp"

namespace interlock::store {

template <class Lease>
class [[nodiscard("dropping the guard releases the lock")]] lease_guard {
  using held = detail::held_lease<Lease>;

public:
  // Holds nothing.
  lease_guard() = default;
  lease_guard(lease_guard &&) noexcept = default;
  lease_guard& operator=(lease_guard other) noexcept {
    std::swap(keeper_, other.keeper_);
    std::swap(held_, other.held_);
    std::swap(kept_, other.kept_);
    std::swap(unlocked_, other.unlocked_);
    return *this;  // what this one had goes with other, which releases it
  }
  // Effects: asks the engine once to release the lock, unless unlock() did. If that fails, the lock
  //          is free when the lease has ended.
  // Preconditions: no callback is registered with lost().
  ~lease_guard() {
    if (held_ == nullptr || unlocked_) return;
    try {
      static_cast<void>(unlock());
    } catch (...) {  // no memory for the request: the lease ends
      kept_->end();
    }
  }

  // Returns: whether there is a lease, and it has not ended by this process' own clock.
  [[nodiscard]] explicit operator bool() const {
    return held_ != nullptr && kept_->holds();
  }

  // The others need a guard that was given by a mutex and not moved from.
  // Returns: a number that is larger than that of every holder before; with owner(), what a fenced
  //          resource is opened with.
  [[nodiscard]] std::uint64_t fence() const {
    return held_->fence();
  }
  // Returns: 128 random bits of this acquisition.
  [[nodiscard]] const unique_id& owner() const noexcept {
    return held_->owner();
  }
  // Returns: when others may have the lock at the earliest, unless it is renewed.
  [[nodiscard]] boot_clock::time_point deadline() const {
    return kept_->deadline();
  }
  // Returns: a token whose stop is requested before the deadline if no renewal was confirmed, or as
  //          soon as the engine says that the lock is another's. Valid until the guard is gone.
  //          Its callbacks run on a thread that nothing else waits for.
  [[nodiscard]] inplace_stop_token lost() const noexcept {
    return kept_->lost();
  }

  // Effects: the lease begins anew, each time: an id of the call is not used.
  // Returns: conflict if it is another's; lost() is told then.
  outcome<nothing> renew(const call_options& call = {}) {
    const auto sent = kept_->now();
    auto said = held_->renew(call);
    if (said) kept_->confirm(sent);
    if (said.conflicted()) kept_->lose();
    return said;
  }
  // Effects: the fence becomes larger than `above`, for a resource that was opened with that. An id
  //          of the call is not used.
  // Returns: it. Conflict if the lock is another's; lost() is told then.
  outcome<std::uint64_t> raise(std::uint64_t above, const call_options& call = {}) {
    auto said = held_->raise(above, call);
    if (said.conflicted()) kept_->lose();
    return said;
  }

  // Effects: releases the lock; it is not held any more, whatever the answer.
  // Returns: conflict if the lock was another's already; unknown or refused: the lease ends it.
  outcome<nothing> unlock(const call_options& call = {}) {
    end();
    return held_->release(call);
  }
  // Returns: an awaitable of what unlock() returns.
  [[nodiscard("write co_await")]] auto async_unlock(const call_options& call = {}) {
    end();
    return held_->calls().at().async(
        call, [held = held_](const call_options& c) { return held->release(c); });
  }

  // For the mutexes. Effects: watches over a lease that was asked for at `sent`.
  // Throws: std::system_error without a thread, std::bad_alloc.
  lease_guard(std::shared_ptr<detail::lease_keeper> keeper, std::shared_ptr<held> what,
              std::shared_ptr<detail::kept_lease> kept)
      : held_(std::move(what)), kept_(std::move(kept)), keeper_(std::move(keeper)) {
    keeper_->keep(kept_);
  }

private:
  void end() {
    kept_->end();
    unlocked_ = true;
  }

  std::shared_ptr<held> held_;  // null when empty
  std::shared_ptr<detail::kept_lease> kept_;
  std::shared_ptr<detail::lease_keeper> keeper_;  // ends first: its threads may use the client
  bool unlocked_ = false;
};

}  // namespace interlock::store
