// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mutex_line.hpp - the line of mutex_queue.hpp: who enters, stands, leaves, is next.
//
// All of it happens while busy, which is a few instructions, but for the newcomers that it collects.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

#include "misuse.hpp"
#include "mutex_queue.hpp"
#include "parking.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Effects: gets `busy`, and the newcomers into the line; sets these flags. Returns: those before.
inline std::uintptr_t mutex_queue::enter(std::uintptr_t more) noexcept {
  for (unsigned round = 0;; ++round) {
    std::uintptr_t seen = look();
    // order: acquire/relaxed [mutex_queue.enter] pairs with [mutex_queue.leave], [mutex_queue.grant], [mutex_queue.free], [mutex_queue.unlock], [mutex_queue.push]: sees the line, the newcomers, and what the last owner did
    if ((seen & busy) == 0 &&
        state_.compare_exchange_strong(seen, (seen & flags) | busy | more,
                                       std::memory_order_acquire, std::memory_order_relaxed)) {
      collect(seen);
      return seen & flags;
    }
    spin_hint(round);
  }
}

// Effects: gives `busy` back. If nobody has the lock any more, hands it on before.
// Returns: whom to wake then, or nullptr. The mutex is not touched any more.
inline waiter* mutex_queue::leave() noexcept {
  // order: acquire [mutex_queue.leave.look] pairs with [mutex_queue.unlock.delegated]: sees what the owner did who left the rest to this one
  std::uintptr_t seen = state_.load(std::memory_order_acquire);
  while ((seen & locked) != 0) {
    const std::uintptr_t left = (seen & ~(busy | queued)) | queued_if_any();
    // order: release/acquire [mutex_queue.leave] pairs with [mutex_queue.enter], [mutex_queue.unlock.enter], [mutex_queue.unlock.delegated]: publishes the line; sees what the owner did who left the rest to this one
    if (state_.compare_exchange_weak(seen, left, std::memory_order_release,
                                     std::memory_order_acquire)) {
      return nullptr;
    }
  }
  return pass_on();
}

// Effects: gives `busy` back, and the lock to whom it is due.
// Preconditions: nobody has the lock, or the caller, who lets it go by this.
// Returns: whom to wake then, or nullptr. The mutex is not touched any more.
inline waiter* mutex_queue::pass_on() noexcept {
  while (true) {
    waiter* const chosen = choose();
    std::uintptr_t seen = look();
    if (chosen != nullptr && !competes(*chosen)) {
      grant(seen & flags);
      return chosen;
    }
    while (stack_of(seen) == nullptr) {
      // order: release/relaxed [mutex_queue.free] pairs with [mutex_queue.take], [mutex_queue.compete], [mutex_queue.enter]: publishes the line, and what the last owner did
      if (state_.compare_exchange_weak(seen, seen & closed, std::memory_order_release,
                                       std::memory_order_relaxed)) {
        return chosen;
      }
    }
    if (chosen != nullptr) stand(*chosen, true);
    // order: acquire [mutex_queue.gather] pairs with [mutex_queue.push]: sees the newcomers
    collect(state_.fetch_and(flags, std::memory_order_acquire));
  }
}

// Effects: gives `busy` back, and the lock to whoever the caller has in mind.
// Preconditions: `now` are the flags; only the newcomers change while the lock cannot be let go.
inline void mutex_queue::grant(std::uintptr_t now) noexcept {
  const std::uintptr_t then = (now & closed) | locked | queued_if_any();
  // order: release [mutex_queue.grant] pairs with [mutex_queue.enter], [mutex_queue.unlock.enter]: publishes the line
  state_.fetch_add(then - now, std::memory_order_release);
}

// Effects: takes off the line whoever is next. Returns: this one, or nullptr.
inline waiter* mutex_queue::choose() noexcept {
  waiter* const head = line_.first();
  if (head == nullptr) return nullptr;
  if (is_thread(*head)) {
    static_cast<blocked*>(head)->competes = false;
    if (head->amount >= patience) return pop();
    waiter* next = line_.after(*head);
    while (next != nullptr && is_thread(*next)) next = line_.after(*next);
    if (next == nullptr) {
      pop();
      static_cast<blocked*>(head)->competes = true;
      static_cast<blocked*>(head)->others = !line_.empty();
      return head;
    }
    for (waiter* passed = head; passed != next; passed = passed->next) passed->amount += passed_by;
    line_ = ring(next);  // the threads are now behind all who are here
  }
  return line_.first()->amount == newcomer && !is_bounded() ? pop_run() : pop();
}

inline void mutex_queue::stand(waiter& node, bool first) noexcept {
  first ? line_.push_front(node) : line_.push_back(node);
  count(in_line_, counted(in_line_) + 1);
}

inline bool mutex_queue::take_off(waiter& node) noexcept {
  if (!line_.remove(node)) return false;
  count(in_line_, counted(in_line_) - 1);
  return true;
}

inline waiter* mutex_queue::pop() noexcept {
  count(in_line_, counted(in_line_) - 1);
  return &line_.pop_front();
}

// Effects: takes the newcomers at the head off the line; those behind the first become the run.
inline waiter* mutex_queue::pop_run() noexcept {
  waiter* const first = pop();
  waiter* last = first;
  std::uint32_t behind = 0;
  while (behind < longest_run && !line_.empty() && line_.first()->amount == newcomer) {
    last = last->next = pop();
    ++behind;
  }
  last->next = nullptr;
  run_ = first->next;
  count(outside_, behind);
  return first;
}

// Effects: puts the newcomers that the word held into the line.
inline void mutex_queue::collect(std::uintptr_t word) noexcept {
  std::uint32_t moved = 0;
  for (waiter* rest = reverse(stack_of(word)); rest != nullptr; ++moved) {
    waiter& node = *rest;
    rest = node.next;
    line_.push_back(node);
  }
  if (moved == 0) return;
  count(in_line_, counted(in_line_) + moved);
  count(outside_, counted(outside_) - std::min(counted(outside_), moved));
}

inline bool mutex_queue::take_or_stand(waiter& node, bool again) noexcept {
  const std::uintptr_t before = enter();
  const bool free = (before & locked) == 0;  // then nobody waits whom it would overtake
  const bool full = is_bounded() && counted(in_line_) >= (counted(outside_) & ~bounded);
  if (!node.ended && !free && (before & closed) == 0 && (again || !full)) {
    node.suspended = true;
    stand(node, again);
    waiter* const next = leave();
    if (next == &node) return false;
    if (next != nullptr) next->wake();
    return true;
  }
  const bool decided = std::exchange(node.ended, true);
  if (!decided) {
    node.status = (before & closed) != 0 ? wait_status::closed
                  : free                 ? wait_status::acquired
                                         : wait_status::overloaded;
    if (node.status == wait_status::acquired) {
      grant(busy);
      return false;
    }
  }
  waiter* const next = leave();
  if (next != nullptr) next->wake();
  return false;
}

// Effects: takes the node off the line if it is there, and keeps it from it otherwise, unless it
//          has been in. Returns: true if it was there.
inline bool mutex_queue::withdraw(waiter& node, wait_status why, waiter*& next) noexcept {
  static_cast<void>(enter());
  const bool stood = take_off(node);
  if (stood || (!node.suspended && !node.ended)) {
    node.ended = true;
    node.status = why;
  }
  next = leave();
  return stood;
}

inline void mutex_queue::end(waiter& node, wait_status why) noexcept {
  waiter* next = nullptr;
  waiter* const left = withdraw(node, why, next) ? &node : nullptr;
  if (left != nullptr && next != nullptr) {
    left->next = next;
    next->next = nullptr;
    wake_all(left);
  } else if (left != nullptr || next != nullptr) {
    (left != nullptr ? left : next)->wake();
  }
}

inline void mutex_queue::abandon(coroutine_waiter& node) noexcept {
  static_cast<void>(enter());
  const bool stood = take_off(node) || (node.amount == newcomer && remove_from_run(node));
  waiter* const next = leave();
  if (!stood && !trampoline::forget(node)) {
    misuse(
        "async_mutex: a coroutine was destroyed while another thread was about to resume it; "
        "destroy it where nobody can end its wait meanwhile");
  }
  if (next != nullptr) next->wake();
  if (!stood && node.status == wait_status::acquired) unlock();
}

inline bool mutex_queue::remove_from_run(waiter& node) noexcept {
  waiter** at = &run_;
  while (*at != nullptr && *at != &node) at = &(*at)->next;
  if (*at == nullptr) return false;
  *at = node.next;
  one_less_outside();
  return true;
}

inline void mutex_queue::close() noexcept {
  static_cast<void>(enter(closed));
  waiter* told = nullptr;
  while (!line_.empty()) {
    waiter& last = *line_.first()->previous;
    take_off(last);
    last.status = wait_status::closed;
    last.next = told;
    told = &last;
  }
  static_cast<void>(leave());  // wakes nobody: the line is empty for ever
  wake_all(told);
}

}  // namespace interlock::detail
