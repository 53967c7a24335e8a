// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/procession.hpp - who was taken off a queue, to be woken when it is unlocked.

#include "waiter.hpp"

namespace interlock::detail {

// Detached nodes, oldest first.
class procession {
public:
  procession() = default;
  procession(const procession&) = delete;
  procession& operator=(const procession&) = delete;

  bool empty() const noexcept { return first_ == nullptr; }
  void add(waiter& node) noexcept {
    node.next = nullptr;
    *end_ = &node;
    end_ = &node.next;
  }
  // Effects: wakes them. Preconditions: no queue is locked.
  void wake() noexcept {
    if (first_ != nullptr) wake_all(first_);
  }

private:
  waiter* first_ = nullptr;
  waiter** end_ = &first_;
};

}  // namespace interlock::detail
