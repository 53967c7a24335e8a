// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/alarm_heap.hpp - alarms by deadline, those with the same one in the order in
// which they came. Nodes belong to their users: nothing is allocated.
//
// A pairing heap (M. Fredman, R. Sedgewick, D. Sleator, R. Tarjan, "The pairing heap: a new form of
// self-adjusting heap", Algorithmica 1, 1986): to add is O(1), to remove any O(log n) amortized. No
// synchronisation.

#include <chrono>
#include <cstdint>
#include <utility>

namespace interlock::detail {

struct alarm_node {
  using time_point = std::chrono::steady_clock::time_point;
  using call_function = void (*)(alarm_node&) noexcept;

  alarm_node(time_point at, call_function function) noexcept : deadline(at), call(function) {}

  bool before(const alarm_node& other) const noexcept {
    return deadline < other.deadline || (deadline == other.deadline && number < other.number);
  }

  const time_point deadline;
  const call_function call;
  // The heap's, under the lock of whoever has it.
  std::uint64_t number = 0;  // of arrival
  alarm_node* child = nullptr;
  alarm_node* next = nullptr;      // the sibling behind
  alarm_node* previous = nullptr;  // the sibling before, or the parent; itself at the top
};

class alarm_heap {
public:
  alarm_node* first() const noexcept { return top_; }

  void add(alarm_node& fresh) noexcept {
    fresh.number = arrivals_++;
    set_top(merge(top_, &fresh));
  }

  // Returns: true if it was in the heap, and now is not.
  bool remove(alarm_node& node) noexcept {
    if (node.previous == nullptr) return false;
    alarm_node* const below = merge_all(std::exchange(node.child, nullptr));
    if (&node == top_) {
      set_top(below);
    } else {
      (node.previous->child == &node ? node.previous->child : node.previous->next) = node.next;
      if (node.next != nullptr) node.next->previous = node.previous;
      set_top(merge(top_, below));
    }
    node.next = node.previous = nullptr;
    return true;
  }

private:
  void set_top(alarm_node* top) noexcept {
    top_ = top;
    if (top != nullptr) top->previous = top;
  }

  // Returns: the earlier one, with the other below it. Either may be null.
  static alarm_node* merge(alarm_node* a, alarm_node* b) noexcept {
    if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
    if (b->before(*a)) std::swap(a, b);
    b->previous = a;
    b->next = a->child;
    if (b->next != nullptr) b->next->previous = b;
    a->child = b;
    return a;
  }

  // Returns: the siblings as one: by twos from the left, then all from the right.
  static alarm_node* merge_all(alarm_node* siblings) noexcept {
    alarm_node* pairs = nullptr;  // the last one first
    while (siblings != nullptr) {
      alarm_node* const one = std::exchange(siblings, siblings->next);
      alarm_node* two = nullptr;
      if (siblings != nullptr) two = std::exchange(siblings, siblings->next);
      one->next = nullptr;
      alarm_node* const pair = merge(one, two);
      pair->next = std::exchange(pairs, pair);
    }
    alarm_node* all = nullptr;
    while (pairs != nullptr) {
      alarm_node* const pair = std::exchange(pairs, pairs->next);
      pair->next = nullptr;
      all = merge(all, pair);
    }
    return all;
  }

  alarm_node* top_ = nullptr;
  std::uint64_t arrivals_ = 0;
};

}  // namespace interlock::detail
