// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/kept_claim.hpp - a key that this process works on: its heartbeat and its
// end.

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "../outcome.hpp"
#include "lease_keeper.hpp"

namespace interlock::store::detail {

class kept_claim {
public:
  kept_claim() = default;
  // Effects: from now on `beat(timeout)` is called each third of the lease, on a thread of the
  //          keeper's. Throws: std::system_error without a thread, std::bad_alloc.
  template <class Beat>
  kept_claim(std::shared_ptr<lease_keeper> keeper, std::shared_ptr<const local_clock> clock,
             std::chrono::milliseconds lease, boot_clock::time_point sent,
             std::chrono::milliseconds usual_timeout, Beat beat)
      : keeper_(std::move(keeper)),
        kept_(std::make_shared<kept_lease>(
            std::move(clock), lease, sent,
            [beat = std::move(beat), usual_timeout](std::chrono::milliseconds left) {
              return renewal_of(beat(renewal_timeout(usual_timeout, left)));
            })) {
    keeper_->keep(kept_);
  }
  kept_claim(kept_claim&&) noexcept = default;
  kept_claim& operator=(kept_claim&& other) noexcept {
    if (this == &other) return *this;
    end();
    keeper_ = std::move(other.keeper_);
    kept_ = std::move(other.kept_);
    return *this;
  }
  ~kept_claim() { end(); }

  // Returns: whether it is kept: neither moved from nor ended, and not lost by its own clock.
  [[nodiscard]] bool holds() const { return kept_ != nullptr && kept_->holds(); }
  [[nodiscard]] inplace_stop_token lost() const noexcept { return kept_->lost(); }
  // Effects: no more heartbeats.
  void end() {
    if (kept_ != nullptr) kept_->end();
  }
  // Effects: sends a heartbeat now, by `beat`. Returns: what that said.
  template <class Beat>
  outcome<nothing> beat_now(Beat beat) {
    const auto sent = kept_->now();
    outcome<nothing> said = beat();
    if (said) kept_->confirm(sent);
    if (said.conflicted()) kept_->lose();
    return said;
  }

private:
  std::shared_ptr<lease_keeper> keeper_;
  std::shared_ptr<kept_lease> kept_;  // null when moved from
};

}  // namespace interlock::store::detail
