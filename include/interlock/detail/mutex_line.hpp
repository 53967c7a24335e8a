// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mutex_line.hpp - the line of mutex_queue.hpp: who stands, leaves, is next.
//
// All of it is done by who is busy with the line, in a few instructions; only the newcomers that it
// collects, and the threads that it looks beyond, are more of them.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "misuse.hpp"
#include "mutex_queue.hpp"
#include "parking.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Effects: gets busy with the line, as soon as nobody else is.
inline ring mutex_queue::enter() noexcept {
  std::uintptr_t seen = look_at_line();
  // order: acquire/relaxed [mutex_queue.enter] pairs with [mutex_queue.leave], [mutex_queue.leave_as_owner]: sees the line
  if ((seen & busy) == 0 && line_.compare_exchange_strong(seen, busy, std::memory_order_acquire,
                                                          std::memory_order_relaxed)) {
    return ring(reinterpret_cast<waiter*>(seen));
  }
  return enter_in_turn();
}
[[gnu::noinline]] inline ring mutex_queue::enter_in_turn() noexcept {
  for (unsigned round = 0;; ++round) {
    std::uintptr_t seen = look_at_line();
    // order: acquire/relaxed [mutex_queue.enter.again] pairs with [mutex_queue.leave], [mutex_queue.leave_as_owner]: sees the line
    if ((seen & busy) == 0 && line_.compare_exchange_strong(seen, busy, std::memory_order_acquire,
                                                            std::memory_order_relaxed)) {
      return ring(reinterpret_cast<waiter*>(seen));
    }
    spin_hint(round);
  }
}

// Effects: gets busy with the line; or leaves the lock to who is.
// Returns: true if it got busy. False: the mutex is not touched any more.
inline bool mutex_queue::enter_or_delegate(ring& line) noexcept {
  std::uintptr_t seen = look_at_line();
  while (true) {
    if ((seen & busy) != 0) {
      // order: release/relaxed [mutex_queue.delegate] pairs with [mutex_queue.leave]: publishes what this owner did
      if (line_.compare_exchange_weak(seen, busy | unlocked, std::memory_order_release,
                                      std::memory_order_relaxed)) {
        return false;
      }
      // order: acquire/relaxed [mutex_queue.unlock.enter] pairs with [mutex_queue.leave], [mutex_queue.leave_as_owner]: sees the line
    } else if (line_.compare_exchange_weak(seen, busy, std::memory_order_acquire,
                                           std::memory_order_relaxed)) {
      line = ring(reinterpret_cast<waiter*>(seen));
      return true;
    }
  }
}

// Effects: is busy no more, unless the owner has left the lock to this one.
// Returns: true if it is not.
inline bool mutex_queue::leave(const ring& line) noexcept {
  std::uintptr_t seen = busy;
  // order: release/acquire [mutex_queue.leave] pairs with [mutex_queue.enter], [mutex_queue.enter.again], [mutex_queue.unlock.enter], [mutex_queue.delegate]: publishes the line; sees what the owner did
  return line_.compare_exchange_strong(seen, reinterpret_cast<std::uintptr_t>(line.first()),
                                       std::memory_order_release, std::memory_order_acquire);
}
inline mutex_queue::handed mutex_queue::leave_or_pass_on(ring& line) noexcept {
  return leave(line) ? handed{} : pass_on(&line);
}

// Effects: is busy no more. Preconditions: nobody but the caller could unlock.
inline void mutex_queue::leave_as_owner(const ring& line) noexcept {
  // order: release [mutex_queue.leave_as_owner] pairs with [mutex_queue.enter], [mutex_queue.enter.again], [mutex_queue.unlock.enter]: publishes the line
  line_.store(reinterpret_cast<std::uintptr_t>(line.first()), std::memory_order_release);
}

inline void mutex_queue::push_back(ring& line, waiter& node) noexcept {
  line.push_back(node);
  count(in_line_, counted(in_line_) + 1);
}

inline bool mutex_queue::take_off(ring& line, waiter& node) noexcept {
  if (!line.remove(node)) return false;
  count(in_line_, counted(in_line_) - 1);
  return true;
}

inline waiter* mutex_queue::pop(ring& line) noexcept {
  count(in_line_, counted(in_line_) - 1);
  return &line.pop_front();
}

// Effects: takes the newcomers at the head off the line; those behind the first become the run.
inline waiter* mutex_queue::pop_run(ring& line) noexcept {
  waiter* const first = pop(line);
  waiter* last = first;
  std::uint32_t behind = 0;
  while (behind < longest_run && !line.empty() && line.first()->amount == newcomer) {
    last = last->next = pop(line);
    ++behind;
  }
  last->next = nullptr;
  run_ = first->next;
  count(in_run_, behind);
  return first;
}

// Effects: puts the newcomers into the line.
inline void mutex_queue::collect(ring& line) noexcept {
  if (stack_of(look()) != nullptr) collect_all(line);
}
[[gnu::noinline]] inline void mutex_queue::collect_all(ring& line) noexcept {
  std::uintptr_t seen = look();
  waiter* rest = nullptr;
  while ((rest = stack_of(seen)) != nullptr) {
    // order: acquire/relaxed [mutex_queue.collect] pairs with [mutex_queue.push]: sees the newcomers
    if (state_.compare_exchange_weak(seen, (seen & flags) | queued, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      break;
    }
  }
  rest = reverse(rest);
  while (rest != nullptr) {
    waiter& node = *rest;
    rest = node.next;
    push_back(line, node);
  }
}

// Effects: takes the lock if it is free, or puts the node into the line, unless its wait has ended.
// Returns: true if it is in the line.
inline bool mutex_queue::stand(ring& line, waiter& node, bool again) noexcept {
  if (node.ended) return false;
  collect(line);
  std::uintptr_t seen = look();
  while ((seen & closed) == 0) {
    if ((seen & locked) == 0) {
      const std::uintptr_t then = line.empty() ? locked : locked | queued;
      // order: acquire/relaxed [mutex_queue.stand] pairs with [mutex_queue.unlock], [mutex_queue.free]: sees what the last owner did
      if (!state_.compare_exchange_weak(seen, then, std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
        continue;
      }
      node.ended = true;
      return false;
    }
    if (!again && is_full()) {
      node.ended = true;
      node.status = wait_status::overloaded;
      return false;
    }
    // order: relaxed/relaxed: an unlock that sees it looks at the line, which has its own order
    if ((seen & queued) == 0 &&
        !state_.compare_exchange_weak(seen, seen | queued, std::memory_order_relaxed,
                                      std::memory_order_relaxed)) {
      continue;
    }
    node.suspended = true;
    push_back(line, node);
    if (again) line = ring(&node);  // the last one is the one before the first
    return true;
  }
  node.ended = true;
  node.status = wait_status::closed;
  return false;
}

inline bool mutex_queue::take_or_stand(waiter& node, bool again) noexcept {
  ring line = enter();
  const bool stands = stand(line, node, again);
  if (leave(line)) return stands;
  return stays_after(line, stands ? &node : nullptr);
}

// Effects: passes on the lock that the owner has left to this one. `self`: as for pass_on().
// Returns: true if `self` is still in the line: it may be gone.
[[gnu::noinline]] inline bool mutex_queue::stays_after(ring& line, waiter* self) noexcept {
  handed to = pass_on(&line, self);
  bool stays = self != nullptr;
  if (stays && to.next == self) {
    to.next = nullptr;
    stays = false;
  }
  if (stays && to.rival == self) {
    to.rival = nullptr;
    stays = false;
  }
  to.wake();
  return stays;
}

// Effects: takes the node off the line, or keeps it from it if it has not been there.
// Returns: true if it was there.
inline bool mutex_queue::withdraw(waiter& node, wait_status why, handed& to) noexcept {
  ring line = enter();
  const bool stood = take_off(line, node);
  if (stood || (!node.suspended && !node.ended)) {
    node.ended = true;
    node.status = why;
  }
  to = leave_or_pass_on(line);
  return stood;
}

inline void mutex_queue::end(waiter& node, wait_status why) noexcept {
  handed to;
  const bool stood = withdraw(node, why, to);
  to.wake(stood ? &node : nullptr);
}

// Who is about to be resumed has its answer. If that is a refusal, the mutex may be gone.
// Out of line: inside each coroutine that waits it costs a hand-over a tenth (GCC 12, -O3).
[[gnu::noinline]] inline void mutex_queue::abandon(coroutine_waiter& node) noexcept {
  if (trampoline::forget(node)) {
    if (node.status == wait_status::acquired) unlock();
    return;
  }
  ring line = enter();
  collect(line);
  const bool stood =
      take_off(line, node) || (node.amount == newcomer && remove_from_run(node));
  leave_or_pass_on(line).wake();
  if (!stood) {
    misuse(
        "async_mutex: a coroutine was destroyed while another thread was about to resume it; "
        "destroy it where nobody can end its wait meanwhile");
  }
}

inline std::size_t mutex_queue::waiters() noexcept {
  ring line = enter();
  collect(line);
  const std::size_t found = counted(in_line_) + (is_bounded() ? 0 : counted(in_run_));
  leave_or_pass_on(line).wake();
  return found;
}

inline void mutex_queue::close() noexcept {
  ring line = enter();
  std::uintptr_t seen = look();
  // order: acquire/relaxed [mutex_queue.close] pairs with [mutex_queue.push]: sees the newcomers
  while (!state_.compare_exchange_weak(seen, (seen & locked) | closed, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
  }
  waiter* told = stack_of(seen);  // the newest first
  told = reverse(told);
  while (!line.empty()) {
    waiter& last = *line.first()->previous;
    take_off(line, last);
    last.next = std::exchange(told, &last);
  }
  for (waiter* each = told; each != nullptr; each = each->next) each->status = wait_status::closed;
  static_cast<void>(leave_or_pass_on(line));  // wakes nobody: nobody is in line any more
  wake_all(told);
}

// Effects: takes off the line whoever gets the lock next. Returns: nullptr if all who are there are
//          threads with patience.
inline waiter* mutex_queue::choose(ring& line) noexcept {
  waiter* const head = line.first();
  if (head == nullptr) return nullptr;
  if (head->amount == leaver) return pop(line);
  if (is_thread(*head)) return let_threads_pass(line);
  return is_bounded() ? pop(line) : pop_run(line);
}

// Effects: the same if a thread is at the head: the first of the coroutines is next, unless the
//          thread has no patience left. The threads before it are then behind all who are here.
[[gnu::noinline]] inline waiter* mutex_queue::let_threads_pass(ring& line) noexcept {
  waiter* const head = line.first();
  if (head->amount >= patience) return pop(line);
  waiter* next = line.after(*head);
  while (next != nullptr && is_thread(*next)) next = line.after(*next);
  if (next == nullptr) return nullptr;
  for (waiter* passed = head; passed != next; passed = passed->next) passed->amount += passed_by;
  line = ring(next);
  return choose(line);
}

// Effects: takes the thread at the head, if there is one, off the line, to compete for the lock.
inline mutex_queue::blocked* mutex_queue::compete_for(ring& line) noexcept {
  if (line.empty()) return nullptr;
  auto* const first = static_cast<blocked*>(pop(line));
  first->competes = true;
  return first;
}

// Effects: hands the lock to who is next in line, or has a thread compete for it; leaves the line.
// Preconditions: the caller has the lock and is busy with the line, in which `self` stands, if any.
// Returns: true if the lock was handed on; false if it is the caller's still, to be freed.
inline bool mutex_queue::serve(ring& line, handed& to, waiter* self) noexcept {
  while (true) {
    waiter* next = choose(line);
    // A thread that has the lock in its hands keeps it: two of them would pass it to and fro.
    if (next == nullptr && self != nullptr && take_off(line, *self)) next = self;
    if (next != nullptr) {
      leave_as_owner(line);
      to.next = next;
      return true;
    }
    std::uintptr_t seen = look();
    if (stack_of(seen) != nullptr) {
      collect(line);
      // order: relaxed/relaxed: whoever sees it does not look at the line, where nobody is whom an unlock has to serve
    } else if (state_.compare_exchange_weak(seen, seen & ~queued, std::memory_order_relaxed,
                                            std::memory_order_relaxed)) {
      if (to.rival == nullptr) to.rival = compete_for(line);
      if (to.rival != nullptr) to.rival->others = !line.empty();
      leave_as_owner(line);
      return false;
    }
  }
}

}  // namespace interlock::detail
