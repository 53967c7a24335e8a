// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/wait_queue.hpp - a ring of waiters and the lock that guards it, in one word.
//
// For objects whose free case is decided by a word of their own. All else happens with the queue
// locked: who waits, who is let in, who leaves because of a stop, a deadline or the end of its
// frame. So one party decides how a wait ends: whoever takes the node off the ring, or finds that
// it may not be listed.
//
// After the last unlock of an operation the object may be gone; a detached node may be gone once it
// is woken.

#include <chrono>

#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

class wait_queue : public guarded_ring<waiter> {
public:
  class locked;
};

// The ring, for as long as this lives: the lock.
class wait_queue::locked : public guarded_ring<waiter>::locked {
public:
  explicit locked(wait_queue& queue) noexcept : guarded_ring<waiter>::locked(queue) {}

  // Effects: lists the node behind all others, unless its wait was ended before it began.
  // Returns: true if listed: once the queue is unlocked it may be woken and gone.
  bool enlist(waiter& node) noexcept {
    if (node.ended) return false;
    node.suspended = true;
    push_back(node);
    return true;
  }

  // Effects: for suspend(), when it is decided without a wait: no end overwrites the status.
  // Preconditions: not ended. Returns: false.
  bool settle(waiter& node, wait_status how) noexcept {
    node.ended = true;
    node.status = how;
    return false;
  }

  // Effects: ends the wait of the node with this status if nobody has: takes it off, or keeps it
  //          from being listed. Returns: true if it was listed: the caller has to wake it.
  bool withdraw(waiter& node, wait_status why) noexcept {
    const bool listed = remove(node);
    if (listed || (!node.suspended && !node.ended)) {
      node.ended = true;
      node.status = why;
    }
    return listed;
  }
};

// Effects: blocks this thread, whose node was listed, until it is woken or past the deadline, if
//          there is one; then it leaves, and `left(queue)` is called with the queue still locked.
// Returns: how the wait ended.
template <class Left>
wait_status wait_in(wait_queue& queue, thread_waiter& self,
                    const std::chrono::steady_clock::time_point* deadline, Left left) noexcept {
  if (deadline != nullptr && !self.wait_until(*deadline)) {
    wait_queue::locked waiting(queue);
    if (waiting.remove(self)) {
      left(waiting);
      return wait_status::timed_out;
    }
  }
  self.wait();  // whoever took the node off the ring is about to wake it, or has
  return self.status;
}

}  // namespace interlock::detail
