// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/kept_claim.hpp - a key that this process works on: its heartbeat and its
// end.

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../outcome.hpp"
#include "lease_keeper.hpp"

namespace interlock::store::detail {

// While it lives, an end of the lease is under way.
class ending_lease {
public:
  // Null: of none.
  explicit ending_lease(std::shared_ptr<kept_lease> of) : of_(std::move(of)) {
    if (of_ != nullptr) of_->begin_end();
  }
  ending_lease(ending_lease&&) noexcept = default;
  ending_lease& operator=(ending_lease&&) = delete;
  ~ending_lease() {
    if (of_ != nullptr) of_->leave_end();
  }
  // Effects: the engine has ended it.
  void done() const {
    if (of_ != nullptr) of_->end();
  }

private:
  std::shared_ptr<kept_lease> of_;
};

// The items that a transaction ends, if it is done.
class ending_items {
public:
  template <class Item>
  void add(const Item& taken) {
    all_.emplace_back(taken.kept_.kept_);
  }
  void done() const {
    for (const ending_lease& each : all_) each.done();
  }

private:
  std::vector<ending_lease> all_;
};

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
  // Returns: whether end() was called before it was lost.
  [[nodiscard]] bool ended() const { return kept_ != nullptr && kept_->ended(); }
  // Returns: what marks, as long as it lives, that an end was asked for.
  [[nodiscard]] ending_lease ending() const { return ending_lease(kept_); }
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
    if (said.conflicted()) kept_->gone();
    return said;
  }

private:
  friend ending_items;

  std::shared_ptr<lease_keeper> keeper_;
  std::shared_ptr<kept_lease> kept_;  // null when moved from
};

}  // namespace interlock::store::detail
