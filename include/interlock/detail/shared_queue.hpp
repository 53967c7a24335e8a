// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/shared_queue.hpp - who is in, and who waits to get in: one writer or many
// readers.
//
// The core of async_shared_mutex, without guards and awaiters. All state changes in one word, as
// long as nobody has to wait; else with the queue locked.
//
// Why nobody is left behind: `queued` is set and cleared with the queue locked, and as long as it
// is set nobody becomes the last to let go but with the queue locked. Who leaves the queue lets in
// those who waited for nobody but it: readers behind a writer that gave up, while readers are in.
//
// Why it may be destroyed early: who is not the last, or finds nobody queued, lets go by one
// compare-and-swap and is gone. The last one with somebody queued still owns the mutex when it
// locks the queue, and hands it over before it unlocks; those let in are woken after that, with
// what is in their nodes alone. Decrementing first and looking for the queue then, as with a
// fetch_sub, would be too late: a waiter could give up, and its owner destroy the mutex, between.
//
// Why no side starves: the queue is in the order of arrival, and nobody passes it. So a writer
// waits for those who came before it, and a reader for the writers among those, and for readers
// that enter together with it. This is the task-fair lock of Krieger, Stumm, Unrau and Hanna, "A
// fair fast scalable reader-writer lock" (ICPP 1993), with a locked queue in the place of theirs.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "../wait_status.hpp"
#include "misuse.hpp"
#include "parking.hpp"
#include "procession.hpp"
#include "wait_queue.hpp"

namespace interlock::detail {

class shared_queue {
public:
  using word = std::uintptr_t;
  using locked = wait_queue::locked;
  // Who comes says what it adds to the word; a node has it in `amount`.
  static constexpr word writer = 1;
  static constexpr word reader = 8;

  explicit constexpr shared_queue(max_waiters bound) noexcept : bound_(bound.count) {}
  ~shared_queue() {
    waiting_.expect_empty(
        "~async_shared_mutex: somebody waits for it; close() it and let them go first");
    if (held()) misuse("~async_shared_mutex: still owned; let every guard go first");
  }

  // Returns: true if the caller is in.
  bool take(word mine) noexcept;

  // Effects: for place::suspend(): lets the node in or lists it, unless its wait has ended.
  // Returns: true if it was listed; false if its status says how the wait ended.
  bool take_or_queue(waiter& node) noexcept {
    locked waiting(waiting_);
    return !node.ended && take_or_queue(waiting, node);
  }

  // Effects: ends the wait of the node if nobody has; lets in who waited for nobody else.
  // Returns: true if it was listed. Then the caller wakes it, and `freed`.
  bool withdraw(waiter& node, wait_status why, procession& freed) noexcept;

  // Effects: leaves; the last one lets the next ones in, and wakes them. Nothing is touched then.
  void let_go(word mine) noexcept;

  // Effects: a writer goes on as a reader.
  void downgrade() noexcept;

  // Effects: blocks this thread until it is in, the deadline has passed or the queue is closed.
  wait_status block(word mine, const std::chrono::steady_clock::time_point* deadline) noexcept;

  void close() noexcept;
  bool is_closed() const noexcept {
    // order: relaxed: it stays closed
    return (state_.load(std::memory_order_relaxed) & closed) != 0;
  }
  bool held() const noexcept {
    // order: relaxed: an answer that may be old
    return (state_.load(std::memory_order_relaxed) & ~(queued | closed)) != 0;
  }
  std::uint32_t waiters_approx() const noexcept {
    // order: relaxed: an answer that may be old
    return waiters_.load(std::memory_order_relaxed);
  }

private:
  // state_ = writer, or the number of readers * reader; and
  //   queued  somebody is listed: newcomers queue too. Changes with the queue locked.
  //   closed  nobody gets in any more. Set with the queue locked; then nobody is listed, and
  //           `queued` says nothing.
  // With the queue unlocked, `queued` is set exactly if somebody is listed, and then somebody is
  // in: whoever leaves as the last one lets the next ones in, by one change of the word.
  static constexpr word queued = 2;
  static constexpr word closed = 4;

  static constexpr bool open_to(word seen, word mine) noexcept {
    return mine == writer ? seen == 0 : (seen & (writer | queued | closed)) == 0;
  }
  bool take_or_queue(locked& waiting, waiter& node) noexcept;
  word next_party(locked& waiting, procession& next) noexcept;
  void close_ranks(locked& waiting, procession& next) noexcept;
  void count(std::uint32_t change) noexcept;

  std::atomic<word> state_{0};
  wait_queue waiting_;
  std::atomic<std::uint32_t> waiters_{0};  // listed ones; changes with the queue locked
  const std::uint32_t bound_;
};

// Returns: true if the mutex was open to the caller and is now (also) the caller's.
inline bool shared_queue::take(word mine) noexcept {
  word seen = 0;
  if (mine == reader) {
    // order: relaxed: only a guess that the exchange verifies
    seen = state_.load(std::memory_order_relaxed);
  }
  while (open_to(seen, mine)) {
    // order: acquire/relaxed [shared_queue.take] pairs with [shared_queue.let_go], [shared_queue.hand_over], [shared_queue.downgrade]: sees what the owners before did
    if (state_.compare_exchange_weak(seen, seen + mine, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

inline void shared_queue::count(std::uint32_t change) noexcept {
  // order: relaxed: changes with the queue locked; others get a guess
  const std::uint32_t seen = waiters_.load(std::memory_order_relaxed);
  // order: relaxed: as above
  waiters_.store(seen + change, std::memory_order_relaxed);
}

// Preconditions: the wait has not been ended.
// Returns: true if the node was listed; false if its status says how the wait ended.
inline bool shared_queue::take_or_queue(locked& waiting, waiter& node) noexcept {
  while (true) {
    if (take(node.amount)) return waiting.settle(node, wait_status::acquired);
    // order: relaxed: the exchange verifies it, or it changes with the queue locked
    word seen = state_.load(std::memory_order_relaxed);
    if (open_to(seen, node.amount)) continue;
    if ((seen & closed) != 0) return waiting.settle(node, wait_status::closed);
    // order: relaxed: changes with the queue locked
    if (waiters_.load(std::memory_order_relaxed) >= bound_) {
      return waiting.settle(node, wait_status::overloaded);
    }
    if ((seen & queued) != 0) break;
    // order: relaxed/relaxed: whoever sees the bit locks the queue, and sees the node then
    if (state_.compare_exchange_weak(seen, seen | queued, std::memory_order_relaxed,
                                     std::memory_order_relaxed)) {
      break;
    }
  }
  count(1);
  return waiting.enlist(node);
}

// Effects: takes those off the queue who enter next: a writer, or the readers before the next one.
// Returns: what they add to the word, without `queued` if nobody is left.
inline auto shared_queue::next_party(locked& waiting, procession& next) noexcept -> word {
  word entered = 0;
  while (!waiting.empty() &&
         (entered == 0 || (entered != writer && waiting.first()->amount == reader))) {
    waiter& node = waiting.pop_front();
    waiting.settle(node, wait_status::acquired);
    entered += node.amount;
    count(~std::uint32_t{0});
    next.add(node);
  }
  return entered;
}

inline void shared_queue::let_go(word mine) noexcept {
  // order: relaxed: only a guess that the exchange verifies
  word seen = mine == writer ? writer : state_.load(std::memory_order_relaxed);
  while (true) {
    while (seen != (mine | queued)) {
      if ((mine == writer ? seen & writer : seen / reader) == 0) {
        misuse(
            "async_shared_mutex: unlocked by who does not own it; adopt only what a guard of the "
            "same kind released");
      }
      // order: release/relaxed [shared_queue.let_go] pairs with [shared_queue.take], [shared_queue.last], [shared_queue.admit]: publishes what this owner did
      if (state_.compare_exchange_weak(seen, seen - mine, std::memory_order_release,
                                       std::memory_order_relaxed)) {
        return;
      }
    }
    procession next;
    {
      locked waiting(waiting_);
      // order: acquire [shared_queue.last] pairs with [shared_queue.let_go]: a writer sees what all readers before it did
      seen = state_.load(std::memory_order_acquire);
      if (seen == (mine | queued)) {
        const word entered = next_party(waiting, next);
        // order: release [shared_queue.hand_over] pairs with [shared_queue.take], [shared_queue.admit]: publishes what this owner did, for readers that join those let in
        state_.store(entered | (waiting.empty() ? 0 : queued), std::memory_order_release);
      }
    }
    if (!next.empty()) return next.wake();  // the mutex may be gone
  }
}

inline void shared_queue::downgrade() noexcept {
  procession next;
  {
    locked waiting(waiting_);
    word change = reader - writer;
    if (!waiting.empty() && waiting.first()->amount == reader) {
      change += next_party(waiting, next);
      if (waiting.empty()) change -= queued;
    }
    // order: relaxed: the word is this writer's alone, but for what changes with the queue locked
    change += state_.load(std::memory_order_relaxed);
    // order: release [shared_queue.downgrade] pairs with [shared_queue.take], [shared_queue.admit]: publishes what this owner did, for readers that join it
    state_.store(change, std::memory_order_release);
  }
  next.wake();
}

// Effects: after somebody left the queue, lets those in who waited for nobody else.
inline void shared_queue::close_ranks(locked& waiting, procession& next) noexcept {
  // order: relaxed: whether a writer is in cannot change from yes to no with the queue locked and somebody queued
  const bool behind_a_writer = (state_.load(std::memory_order_relaxed) & writer) != 0;
  word change = 0;
  if (!waiting.empty() && waiting.first()->amount == reader && !behind_a_writer) {
    change = next_party(waiting, next);
  }
  if (waiting.empty()) change -= queued;
  if (change == 0) return;
  // order: acquire [shared_queue.admit] pairs with [shared_queue.let_go], [shared_queue.hand_over], [shared_queue.downgrade]: those let in see what the last writer did
  state_.fetch_add(change, std::memory_order_acquire);
}

// Effects: ends the wait of the node if nobody has. Returns: true if it was listed.
inline bool shared_queue::withdraw(waiter& node, wait_status why, procession& next) noexcept {
  locked waiting(waiting_);
  if (!waiting.withdraw(node, why)) return false;
  count(~std::uint32_t{0});
  close_ranks(waiting, next);
  return true;
}

inline void shared_queue::close() noexcept {
  procession told;
  {
    locked waiting(waiting_);
    while (!waiting.empty()) {
      waiter& node = waiting.pop_front();
      waiting.settle(node, wait_status::closed);
      count(~std::uint32_t{0});
      told.add(node);
    }
    // order: relaxed: publishes nothing; who is told learns of it by the queue
    state_.fetch_or(closed, std::memory_order_relaxed);
  }
  told.wake();
}

inline wait_status shared_queue::block(
    word mine, const std::chrono::steady_clock::time_point* deadline) noexcept {
  for (unsigned round = 0; round < spin_rounds; ++round) {
    // order: relaxed: only a guess, so that spinning does not pull the line away from the owners
    const word seen = state_.load(std::memory_order_relaxed);
    if (open_to(seen, mine) && take(mine)) return wait_status::acquired;
    if ((seen & closed) != 0) break;
    spin_hint(round);
  }
  thread_waiter self;
  self.amount = static_cast<std::uint32_t>(mine);
  if (!take_or_queue(self)) return self.status;
  procession next;
  const wait_status end = wait_in(waiting_, self, deadline, [&](locked& waiting) {
    count(~std::uint32_t{0});
    close_ranks(waiting, next);
  });
  next.wake();
  return end;
}

}  // namespace interlock::detail
