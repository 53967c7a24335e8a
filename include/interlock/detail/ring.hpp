// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/ring.hpp - nodes in the order in which they came, each of which can leave.
//
// The nodes are linked in a ring, so the address of the first one is the whole list. Every
// operation is O(1). A ring has no synchronisation: whoever has it has it alone. A guarded_ring has
// a lock, in the same word, which is held for a few instructions, never while a node is woken.

#include <atomic>
#include <cstdint>

#include "misuse.hpp"
#include "parking.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Node has `Node* next` and `Node* previous`; `previous` is null while it is in no ring.
template <class Node>
class ring_of {
public:
  constexpr ring_of() noexcept = default;
  explicit ring_of(Node* first) noexcept : first_(first) {}

  bool empty() const noexcept { return first_ == nullptr; }
  Node* first() const noexcept { return first_; }
  // Returns: the one behind; nullptr behind the last.
  Node* after(const Node& node) const noexcept {
    return node.next == first_ ? nullptr : node.next;
  }

  // Preconditions, here and below: in no ring.
  void push_back(Node& node) noexcept {
    if (first_ == nullptr) {
      node.next = node.previous = first_ = &node;
    } else {
      link_before(*first_, node);
    }
  }
  void push_front(Node& node) noexcept {
    push_back(node);
    first_ = &node;
  }
  // Effects: behind the last one of those that are not higher. Complexity: the higher ones.
  void push_by_height(Node& node) noexcept {
    if (first_ == nullptr || !(node.height < first_->previous->height)) return push_back(node);
    Node* higher = first_->previous;
    while (higher != first_ && node.height < higher->previous->height) higher = higher->previous;
    link_before(*higher, node);
    if (higher == first_) first_ = &node;
  }

  // Returns: true if the node was in a ring, which must be this one, and now is not.
  bool remove(Node& node) noexcept {
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
  Node& pop_front() noexcept {
    Node& head = *first_;
    remove(head);
    return head;
  }

private:
  static void link_before(Node& place, Node& node) noexcept {
    node.next = &place;
    node.previous = place.previous;
    node.previous->next = place.previous = &node;
  }

  Node* first_ = nullptr;
};
using ring = ring_of<waiter>;

// After the last unlock of an operation the object that holds it may be gone.
template <class Node>
class guarded_ring {
public:
  // The ring, for as long as this lives: the lock.
  class locked : public ring_of<Node> {
  public:
    explicit locked(guarded_ring& home) noexcept : ring_of<Node>(home.lock()), home_(home) {}
    locked(const locked&) = delete;
    locked& operator=(const locked&) = delete;
    ~locked() { home_.unlock(this->first()); }

  private:
    guarded_ring& home_;
  };

  constexpr guarded_ring() noexcept = default;
  guarded_ring(const guarded_ring&) = delete;
  guarded_ring& operator=(const guarded_ring&) = delete;

  // Returns: true if nobody is listed, or being listed. For who has done before what somebody who
  //          is listed looks at under the lock: of the two, one sees the other.
  bool empty() const noexcept {
    // order: seq_cst [ring.empty] total order with [ring.lock], [cell.try_lock], [cell.try_claim], [watermark.raise]: not before what was done
    return word_.load(std::memory_order_seq_cst) == 0;
  }

  // Effects: calls misuse(sentence) if somebody is listed. For the destructor of the object.
  void expect_empty(const char* sentence) const noexcept {
    // order: relaxed: the last use happens before the destruction, or there is no order that helps
    if (word_.load(std::memory_order_relaxed) != 0) misuse(sentence);
  }

private:
  // word_: the address of the first node, or 0; and `busy` while the ring is being changed, by
  // whoever set the bit.
  static constexpr std::uintptr_t busy = 1;  // no address: nodes are aligned

  Node* lock() noexcept {
    for (unsigned round = 0;; ++round) {
      // order: relaxed: only a guess that the exchange verifies
      std::uintptr_t seen = word_.load(std::memory_order_relaxed);
      // order: seq_cst/relaxed [ring.lock] total order with [ring.empty], [cell.rests], [watermark.load] and pairs with [ring.unlock]: not after the look at the object; sees the ring and what was done under the lock
      if ((seen & busy) == 0 &&
          word_.compare_exchange_strong(seen, seen | busy, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
        return reinterpret_cast<Node*>(seen);
      }
      spin_hint(round);
    }
  }

  void unlock(Node* first) noexcept {
    // order: release [ring.unlock] pairs with [ring.lock]: publishes the ring and what the object did under the lock
    word_.store(reinterpret_cast<std::uintptr_t>(first), std::memory_order_release);
  }

  std::atomic<std::uintptr_t> word_{0};
};

}  // namespace interlock::detail
