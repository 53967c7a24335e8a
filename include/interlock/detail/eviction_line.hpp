// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/eviction_line.hpp - nodes in order of age, the oldest first, for a pointer each.
//
// A node that leaves from the middle stays listed until the line comes by: there is no way back to
// the one before it. Each such leave walks eight nodes on from where the last one stopped and takes
// out the dead ones that it meets, so at most about one in eight of those listed is dead.
//
// Under the lock of the shard. Node has `Node* newer`.

#include <cstddef>

namespace interlock::detail {

template <class Node>
class eviction_line {
public:
  Node* oldest() const noexcept { return oldest_; }

  void push(Node& node) noexcept {
    node.newer = nullptr;
    (oldest_ == nullptr ? oldest_ : newest_->newer) = &node;
    newest_ = &node;
  }
  // Preconditions: there is one.
  Node& pop() noexcept {
    Node& head = *oldest_;
    if (at_ == &head) at_ = nullptr;
    oldest_ = head.newer;
    return head;
  }

  // Effects: takes out all, and calls gone(node) for the dead ones.
  template <class IsDead, class Gone>
  void drain(IsDead is_dead, Gone gone) noexcept {
    while (oldest_ != nullptr) {
      Node& head = pop();
      if (is_dead(head)) gone(head);
    }
  }

  // Effects: for one that has died in the line: takes some dead ones out and calls gone(node).
  template <class IsDead, class Gone>
  void pass(IsDead is_dead, Gone gone) noexcept {
    for (std::size_t steps = 0; steps < at_once; ++steps) {
      Node* const next = at_ == nullptr ? oldest_ : at_->newer;
      if (next == nullptr) {
        if (at_ == nullptr) return;
        at_ = nullptr;  // once more from the oldest
      } else if (is_dead(*next)) {
        (at_ == nullptr ? oldest_ : at_->newer) = next->newer;
        if (newest_ == next) newest_ = at_;
        gone(*next);
      } else {
        at_ = next;
      }
    }
  }

private:
  static constexpr std::size_t at_once = 8;

  Node* oldest_ = nullptr;
  Node* newest_ = nullptr;  // if there is an oldest
  Node* at_ = nullptr;      // where the last pass stopped, in the line; null: before the oldest
};

}  // namespace interlock::detail
