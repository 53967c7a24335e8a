// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/context_waits.hpp - the waits whose ends a context runs, and the end of that
// context.
//
// A context (an io_context, a thread pool) may be destroyed while operations that belong to it wait
// elsewhere, in a mutex say, where any thread may let one in at that moment. Each wait is entered
// here; whoever lets it end asks begin_post() before it hands it to the context. The shutdown takes
// the waits one by one, calls each off, and destroys it. If a wait was let in just then, the
// shutdown waits until the other thread has said so, which is a few instructions away: nobody runs
// foreign code between taking a waiter off its list and waking it.
//
// Who destroys a wait: the context, if begin_post() was true; else the shutdown.

#include <atomic>
#include <cstddef>

#include "parking.hpp"
#include "ring.hpp"

namespace interlock::detail {

class context_waits {
public:
  struct node {
    using function = void (*)(node&) noexcept;
    node(function end_it, function destroy_it) noexcept : end(end_it), destroy(destroy_it) {}

    node* next = nullptr;
    node* previous = nullptr;
    function end;      // calls the wait off, unless it has ended: begin_post() is called once
    function destroy;  // as what has ended and will not be handed on
  };

  context_waits() = default;
  context_waits(const context_waits&) = delete;
  context_waits& operator=(const context_waits&) = delete;
  ~context_waits() { nodes_.expect_empty("a context was destroyed with waits that it runs"); }

  // Returns: false if the context is being shut down: do not begin to wait.
  [[nodiscard]] bool enter(node& fresh) noexcept {
    nodes::locked entered(nodes_);
    if (shut_) return false;
    entered.push_back(fresh);
    return true;
  }

  // Effects: for a wait that was entered and has ended; once.
  // Returns: true: the caller hands it to the context, which stays until end_post().
  //          false: the shutdown destroys it: touch neither it nor this any more.
  [[nodiscard]] bool begin_post(node& ended) noexcept {
    nodes::locked entered(nodes_);
    if (entered.remove(ended)) {
      // order: relaxed: the lock orders it
      posting_.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    // order: release [context_waits.arrive] pairs with [context_waits.await]: publishes how the wait ended
    arrived_.store(true, std::memory_order_release);
    return false;
  }
  void end_post() noexcept {
    // order: release [context_waits.end_post] pairs with [context_waits.quiet]: the context is not used after it
    posting_.fetch_sub(1, std::memory_order_release);
  }

  // Effects: destroys all waits; nobody uses this afterwards. Not by two threads at once.
  void shut_down() noexcept {
    while (node* const last = take()) {
      last->end(*last);
      // order: acquire [context_waits.await] pairs with [context_waits.arrive]: sees how the wait ended
      for (unsigned round = 0; !arrived_.load(std::memory_order_acquire); ++round) {
        spin_hint(round);
      }
      last->destroy(*last);
    }
    // order: acquire [context_waits.quiet] pairs with [context_waits.end_post]: nobody uses the context any more
    for (unsigned round = 0; posting_.load(std::memory_order_acquire) != 0; ++round) {
      spin_hint(round);
    }
  }

private:
  using nodes = guarded_ring<node>;

  // Its lock is also what keeps this alive for a begin_post() that was false.
  node* take() noexcept {
    nodes::locked entered(nodes_);
    shut_ = true;
    // order: relaxed: the lock orders it
    arrived_.store(false, std::memory_order_relaxed);
    return entered.empty() ? nullptr : &entered.pop_front();
  }

  nodes nodes_;
  bool shut_ = false;                    // under the lock
  std::atomic<bool> arrived_{false};     // the one that was taken has ended
  std::atomic<std::size_t> posting_{0};  // those who hand one to the context
};

}  // namespace interlock::detail
