// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/ring.hpp - waiters in the order in which they came, each of which can leave.
//
// The nodes are linked in a ring, so the address of the first one is the whole list. Every
// operation is O(1). No synchronisation: whoever has the list has it alone.

#include <cstddef>

#include "waiter.hpp"

namespace interlock::detail {

class ring {
public:
  constexpr ring() noexcept = default;
  explicit ring(waiter* first) noexcept : first_(first) {}

  bool empty() const noexcept { return first_ == nullptr; }
  waiter* first() const noexcept { return first_; }
  // Returns: the one behind; nullptr behind the last.
  waiter* after(const waiter& node) const noexcept {
    return node.next == first_ ? nullptr : node.next;
  }

  // Preconditions: in no ring.
  void push_back(waiter& node) noexcept {
    if (first_ == nullptr) {
      node.next = node.previous = first_ = &node;
      return;
    }
    node.next = first_;
    node.previous = first_->previous;
    node.previous->next = first_->previous = &node;
  }
  void push_front(waiter& node) noexcept {
    push_back(node);
    first_ = &node;
  }

  // Returns: true if the node was in a ring, which must be this one, and now is not.
  bool remove(waiter& node) noexcept {
    if (node.previous == nullptr) return false;
    if (node.next == &node) {
      first_ = nullptr;
    } else {
      if (first_ == &node) first_ = node.next;
      node.previous->next = node.next;
      node.next->previous = node.previous;
    }
    node.previous = nullptr;
    return true;
  }

  // Preconditions: not empty.
  waiter& pop_front() noexcept {
    waiter& head = *first_;
    remove(head);
    return head;
  }

private:
  waiter* first_ = nullptr;
};

}  // namespace interlock::detail
