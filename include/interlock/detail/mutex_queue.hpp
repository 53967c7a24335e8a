// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mutex_queue.hpp - a lock and the line of those who wait for it, in 32 bytes.
//
// The word says whether the lock is taken, and holds a stack of newcomers: coroutines that wait for
// nothing but the lock. An unlock collects them, oldest first, into the owner's own run, and hands
// the lock on along the run by a plain pop (Lewis Baker, cppcoro).
//
// Whoever may also leave (a stop, a deadline, a thread) stands in the line, a ring that is changed
// under the word's `busy` bit. To get it is to collect the newcomers too, so the line is in the
// order of arrival, and to leave it is O(1). A stop, a deadline, a grant, a close: whoever takes the
// node off the line decides, and there is no other party.
//
// An unlock never waits for who has `busy`: it clears `locked` and goes. Whoever gives `busy` back
// sees that, and hands the lock on. Nobody touches the mutex after the step that lets another one
// have it, and nobody is woken before.
//
// Threads compete. A sleeper needs microseconds to come, and a lock that waits for it is a convoy.
// So a thread at the head lets the coroutines behind it pass; if there are none, it is woken while
// the lock is free, and takes it if it can. Each time it loses it becomes more impatient, until the
// lock is handed to it and kept for it.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "misuse.hpp"
#include "parking.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

class mutex_queue {
public:
  constexpr mutex_queue() noexcept = default;
  // At most so many wait. All of them stand in the line, where they are counted.
  constexpr explicit mutex_queue(std::uint32_t limit) noexcept
      : outside_(bounded | std::min(limit, bounded - 1)) {}
  mutex_queue(const mutex_queue&) = delete;
  mutex_queue& operator=(const mutex_queue&) = delete;
  ~mutex_queue();

  // What a waiter is, in waiter::amount. Threads count what they have lost, in units of `loss`.
  static constexpr std::uint32_t newcomer = 0;  // a coroutine without ends
  static constexpr std::uint32_t leaver = 1;    // a coroutine that may leave
  static constexpr std::uint32_t thread = 2;
  static constexpr std::uint32_t loss = 4;

  // Effects: takes the lock if it is free. Returns: true if so.
  bool take() noexcept;
  // Returns: true if it is free, as far as one can see.
  bool looks_free() const noexcept { return look() == 0; }
  bool held() const noexcept { return (look() & locked) != 0; }
  bool is_closed() const noexcept { return (look() & closed) != 0; }
  // Returns: how many wait. Those who come or go at this moment may be missed.
  std::size_t waiters() const noexcept;

  // Effects: for a newcomer: takes the lock or queues.
  // Returns: true if queued: it will be woken, and may have been: touch neither it nor this.
  //          False: its status says how it ended.
  bool take_or_push(waiter& node) noexcept;
  // Effects: the same for a leaver or a thread; `again` puts it at the head.
  bool take_or_stand(waiter& node, bool again = false) noexcept;
  // Effects: ends a leaver's wait with this status if nobody has, and wakes it if it is in the line.
  void end(waiter& node, wait_status why) noexcept;
  // Effects: for a coroutine that is destroyed: it waits no more. If it has got the lock, but has
  //          not gone on yet, the lock is handed on.
  void abandon(coroutine_waiter& node) noexcept;

  // Effects: blocks this thread until it has the lock, or past the deadline if there is one.
  wait_status block(const std::chrono::steady_clock::time_point* deadline) noexcept;

  // Preconditions: the caller has the lock.
  void unlock() noexcept;
  // Effects: tells all who wait and all who come.
  void close() noexcept;

private:
  // A thread in the line.
  struct blocked : thread_waiter {
    explicit blocked(std::uint32_t losses) noexcept { amount = thread | losses; }
    bool competes = false;  // woken to take the lock if it can, not to have it
    bool others = false;    // then: others are in the line, for whom no unlock looks
  };

  // state_: the newest of the newcomers, linked to the older ones, or none; and
  //   locked   somebody has the lock
  //   busy     somebody works on line_. Only who does may set `locked` then
  //   queued   an unlock has to look at line_
  //   closed   for ever. No newcomers, nobody in line_
  // Not locked and not busy: nobody waits but threads, one of which has been woken and not yet come
  // (that one sets `queued` again if others wait). So who finds the word 0 may take the lock.
  static constexpr std::uintptr_t locked = 1;
  static constexpr std::uintptr_t busy = 2;
  static constexpr std::uintptr_t queued = 4;
  static constexpr std::uintptr_t closed = 8;
  static constexpr std::uintptr_t flags = 15;  // no address: see newcomer_waiter

  static constexpr std::uint32_t bounded = std::uint32_t{1} << 31;  // in outside_
  static constexpr std::uint32_t longest_run = 64;   // what is moved while busy
  static constexpr std::uint32_t passed_by = 4 * loss;  // what it is to be passed by coroutines
  static constexpr std::uint32_t patience = 12 * loss;

  static bool is_thread(const waiter& node) noexcept { return (node.amount & thread) != 0; }
  static bool competes(const waiter& node) noexcept {
    return is_thread(node) && static_cast<const blocked&>(node).competes;
  }
  static waiter* stack_of(std::uintptr_t word) noexcept {
    return reinterpret_cast<waiter*>(word & ~flags);
  }
  std::uintptr_t look() const noexcept {
    // order: relaxed: a guess that goes stale at once, or that a compare-exchange verifies
    return state_.load(std::memory_order_relaxed);
  }
  bool is_bounded() const noexcept { return (counted(outside_) & bounded) != 0; }
  static std::uint32_t counted(const std::atomic<std::uint32_t>& number) noexcept {
    // order: relaxed: the limit never changes; in_line_ is read while busy; the rest is information
    return number.load(std::memory_order_relaxed);
  }
  static void count(std::atomic<std::uint32_t>& number, std::uint32_t value) noexcept {
    // order: relaxed: as above. What two newcomers count at the same moment counts once, until the next unlock collects them
    number.store(value, std::memory_order_relaxed);
  }
  void one_less_outside() noexcept {
    const std::uint32_t seen = counted(outside_);
    count(outside_, seen - (seen != 0 ? 1 : 0));
  }

  // While busy.
  std::uintptr_t enter(std::uintptr_t more = 0) noexcept;
  [[nodiscard]] waiter* leave() noexcept;
  [[nodiscard]] waiter* pass_on() noexcept;
  std::uintptr_t queued_if_any() const noexcept { return line_.empty() ? 0 : queued; }
  void stand(waiter& node, bool first) noexcept;
  bool take_off(waiter& node) noexcept;
  waiter* pop() noexcept;
  waiter* pop_run() noexcept;
  waiter* choose() noexcept;
  void grant(std::uintptr_t now) noexcept;
  bool withdraw(waiter& node, wait_status why, waiter*& next) noexcept;
  void collect(std::uintptr_t word) noexcept;

  bool remove_from_run(waiter& node) noexcept;
  void unlock_slowly(std::uintptr_t seen) noexcept;
  void run_all(waiter* newcomers) noexcept;
  void refuse_run() noexcept;
  bool wait_once(std::uint32_t& losses, const std::chrono::steady_clock::time_point* deadline,
                 wait_status& how) noexcept;
  bool compete(bool others) noexcept;

  std::atomic<std::uintptr_t> state_{0};
  waiter* run_ = nullptr;                  // newcomers in order, singly linked; the owner's
  ring line_;                              // of who is busy
  std::atomic<std::uint32_t> outside_{0};  // on the stack and in run_, about; or the limit
  std::atomic<std::uint32_t> in_line_{0};  // how many stand in line_
};

// Leaves the four low bits of its address to the word.
class alignas(16) newcomer_waiter : public coroutine_waiter {
protected:
  explicit newcomer_waiter(wake_function function) noexcept : coroutine_waiter(function) {}
  ~newcomer_waiter() = default;
};

inline mutex_queue::~mutex_queue() {
  if ((look() & ~closed) != 0 || !line_.empty()) {
    misuse("~async_mutex: still owned or waited for; let every guard and every waiter go first");
  }
}

inline std::size_t mutex_queue::waiters() const noexcept {
  // Nobody stands outside of a free mutex: what is counted there then was not noticed to go.
  const std::size_t outside = is_bounded() || !held() ? 0 : counted(outside_);
  return outside + counted(in_line_);
}

inline bool mutex_queue::take() noexcept {
  std::uintptr_t expected = 0;
  // order: acquire/relaxed [mutex_queue.take] pairs with [mutex_queue.unlock], [mutex_queue.free]: sees what the last owner did
  return state_.compare_exchange_strong(expected, locked, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

inline bool mutex_queue::take_or_push(waiter& node) noexcept {
  std::uintptr_t seen = look();
  while (true) {
    if (seen == 0) {
      if (take()) return false;
      seen = look();
      continue;
    }
    if ((seen & closed) != 0) {
      node.status = wait_status::closed;
      return false;
    }
    if (is_bounded()) return take_or_stand(node);
    node.next = stack_of(seen);
    node.suspended = true;
    count(outside_, counted(outside_) + 1);  // once it is pushed, all this may be gone
    // order: release/relaxed [mutex_queue.push] pairs with [mutex_queue.collect], [mutex_queue.enter], [mutex_queue.unlock.enter], [mutex_queue.gather]: publishes the node
    if (state_.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(&node) | (seen & flags),
                                     std::memory_order_release, std::memory_order_relaxed)) {
      return true;
    }
  }
}

// ---- unlock -------------------------------------------------------------------------------------

inline void mutex_queue::unlock() noexcept {
  if (run_ != nullptr) {
    if (is_closed()) return refuse_run();
    waiter* const next = run_;
    run_ = next->next;
    one_less_outside();
    next->wake();
    return;
  }
  std::uintptr_t seen = locked;
  // order: release/relaxed [mutex_queue.unlock] pairs with [mutex_queue.take], [mutex_queue.compete], [mutex_queue.enter]: publishes what this owner did
  if (!state_.compare_exchange_strong(seen, 0, std::memory_order_release,
                                      std::memory_order_relaxed)) {
    unlock_slowly(seen);
  }
}

// Preconditions: no run.
[[gnu::noinline]] inline void mutex_queue::unlock_slowly(std::uintptr_t seen) noexcept {
  while (true) {
    if ((seen & locked) == 0) {
      misuse("async_mutex: unlocked while free; adopt only a mutex that a guard released");
    }
    if ((seen & busy) != 0 || (seen & ~closed) == locked) {
      // order: release/relaxed [mutex_queue.unlock.delegated] pairs with [mutex_queue.leave.look], [mutex_queue.leave]: publishes what this owner did
      if (state_.compare_exchange_weak(seen, seen & ~locked, std::memory_order_release,
                                       std::memory_order_relaxed)) {
        return;  // who is busy hands it on
      }
    } else if ((seen & queued) == 0) {
      // order: acquire/relaxed [mutex_queue.collect] pairs with [mutex_queue.push]: sees the newcomers
      if (state_.compare_exchange_weak(seen, seen & flags, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return run_all(stack_of(seen));
      }
      // order: acquire/relaxed [mutex_queue.unlock.enter] pairs with [mutex_queue.leave], [mutex_queue.grant], [mutex_queue.push]: sees the line and the newcomers
    } else if (state_.compare_exchange_weak(seen, (seen & flags) | busy, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
      collect(seen);
      waiter* const next = pass_on();
      if (next != nullptr) next->wake();
      return;
    }
  }
}

// Effects: makes these newcomers the run, and hands on to the first.
inline void mutex_queue::run_all(waiter* newcomers) noexcept {
  std::uint32_t all = 0;
  for (const waiter* each = newcomers; each != nullptr; each = each->next) ++all;
  waiter* const next = reverse(newcomers);
  run_ = next->next;
  count(outside_, all - 1);
  next->wake();
}

// Effects: unlocks a closed mutex and tells the run.
inline void mutex_queue::refuse_run() noexcept {
  waiter* const told = std::exchange(run_, nullptr);
  for (waiter* each = told; each != nullptr; each = each->next) each->status = wait_status::closed;
  count(outside_, 0);
  unlock();
  wake_all(told);
}

// ---- threads ------------------------------------------------------------------------------------

inline wait_status mutex_queue::block(
    const std::chrono::steady_clock::time_point* deadline) noexcept {
  if (compete(false)) return wait_status::acquired;
  wait_status how{};
  std::uint32_t losses = 0;
  while (!wait_once(losses, deadline, how)) losses += loss;
  return how;
}

// Returns: true if `how` says how the wait ended; false if others were faster.
[[gnu::noinline]] inline bool mutex_queue::wait_once(
    std::uint32_t& losses, const std::chrono::steady_clock::time_point* deadline,
    wait_status& how) noexcept {
  blocked self(losses);
  if (take_or_stand(self, losses != 0)) {
    waiter* next = nullptr;
    if (deadline != nullptr && !self.wait_until(*deadline)) {
      const bool left = withdraw(self, wait_status::timed_out, next);
      if (next != nullptr) next->wake();
      if (left) {
        how = wait_status::timed_out;
        return true;
      }
    }
    self.wait();
  }
  how = self.status;
  losses = self.amount & ~(loss - 1);
  return !self.competes || compete(self.others);
}

// Effects: tries for a moment to take the lock; `others`: on behalf of those in line, too.
inline bool mutex_queue::compete(bool others) noexcept {
  for (unsigned round = 0; round < spin_rounds; ++round) {
    std::uintptr_t expected = 0;
    // order: acquire/relaxed [mutex_queue.compete] pairs with [mutex_queue.unlock], [mutex_queue.free]: sees what the last owner did
    if (looks_free() && state_.compare_exchange_strong(expected, others ? locked | queued : locked,
                                                       std::memory_order_acquire,
                                                       std::memory_order_relaxed)) {
      return true;
    }
    spin_hint(round);
  }
  return false;
}

}  // namespace interlock::detail
