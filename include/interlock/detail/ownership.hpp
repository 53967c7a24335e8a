// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/ownership.hpp - what all guards have in common: they own one object, or say why
// they own none.
//
// A wait that did not get what it asked for gives a guard that owns nothing. Whoever goes on
// without having asked would be inside without the lock, and lose updates silently. So a guard
// that was refused and never asked ends the program with a sentence when it is destroyed.

#include <utility>

#include "../wait_status.hpp"
#include "misuse.hpp"

namespace interlock::detail {

// Guard has `void let_go(Owned&) noexcept`, which gives back what it owned, and befriends this.
// If it has more members than this, it swaps them itself.
template <class Guard, class Owned>
class ownership {
public:
  ownership() = default;  // owns nothing, and was refused nothing
  ownership(ownership&& other) noexcept
      : owned_(std::exchange(other.owned_, nullptr)),
        status_(other.status_),
        unasked_(std::exchange(other.unasked_, false)) {}
  ownership& operator=(ownership&&) = delete;  // the guard's: it has to let go first

  // Returns: true if it owns. False: see status().
  [[nodiscard]] bool owns_lock() const noexcept {
    now_asked();
    return owned_ != nullptr;
  }
  explicit operator bool() const noexcept { return owns_lock(); }

  // Returns: how the wait ended that gave this guard. It stays when the guard lets go.
  [[nodiscard]] wait_status status() const noexcept {
    now_asked();
    return status_;
  }

protected:
  explicit ownership(Owned& owned) noexcept : owned_(&owned) {}
  explicit ownership(wait_status refused) noexcept : status_(refused), unasked_(true) {}
  ~ownership() {
    if (owned_ != nullptr) {
      static_cast<Guard*>(this)->let_go(*owned_);
    } else if (unasked_) {
      misuse(
          "a guard was refused (cancelled, timed out, closed or overloaded) and nobody asked: "
          "look at it, if (!guard), before you go on as the owner");
    }
  }
  void swap_owned(ownership& other) noexcept {
    std::swap(owned_, other.owned_);
    std::swap(status_, other.status_);
    std::swap(unasked_, other.unasked_);
  }

  Owned* owned_ = nullptr;

private:
  // No write if it was asked before, or owns: many may ask a guard that they only read.
  void now_asked() const noexcept {
    if (unasked_) unasked_ = false;
  }

  wait_status status_ = wait_status::acquired;
  mutable bool unasked_ = false;
};

}  // namespace interlock::detail
