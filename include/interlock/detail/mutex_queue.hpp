// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mutex_queue.hpp - a lock and the line of those who wait for it, in 32 bytes.
//
// state_ says whether the lock is taken, and holds a stack of newcomers: coroutines that wait for
// nothing but the lock. An unlock collects them, oldest first, into the owner's own run, and hands
// the lock on along the run by a plain pop (Lewis Baker, cppcoro).
//
// Whoever may also leave (a stop, a deadline, a thread) stands in the line: a ring with a lock of
// its own, in line_. Who gets in collects the newcomers too, so the line is in the order of
// arrival; to leave it is O(1). A grant, a stop, a deadline, a close: whoever takes a node off the
// line has decided how its wait ends.
//
// An unlock never waits. If somebody is busy with the line, it leaves the rest to this one, by a
// bit that this one cannot miss when it is done. Nobody touches the mutex after the step that lets
// another one have it, and nobody is woken before.
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
      : in_run_(bounded | std::min(limit, bounded - 1)) {}
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
  // Returns: how many wait. Puts the newcomers into the line, to count them. One that is being
  // handed the lock at this moment may be counted or not.
  std::size_t waiters() noexcept;

  // Effects: for a newcomer: takes the lock or queues.
  // Returns: true if queued: it will be woken, and may have been: touch neither it nor this.
  //          False: its status says how it ended.
  bool take_or_push(waiter& node) noexcept;
  // Effects: the same for a leaver or a thread; `again` puts it at the head.
  bool take_or_stand(waiter& node, bool again = false) noexcept;
  // Effects: ends a leaver's wait with this status if nobody has; wakes it if it is in the line.
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
  // Whom an operation has to wake when it is done with the mutex.
  struct handed {
    waiter* next = nullptr;    // has the lock now
    blocked* rival = nullptr;  // may compete for it
    void wake(waiter* first = nullptr) const noexcept;
  };

  // state_: the newest of the newcomers, linked to the older ones, or none; and
  //   locked   somebody has the lock. Without it, nothing else but `closed`
  //   queued   an unlock has to look at the line. Set and cleared by who is busy with it
  //   closed   for ever. No newcomers, nobody in the line
  // Not locked: nobody waits but threads, one of which has been woken and has not come yet; this
  // one sets `queued` again if others wait.
  static constexpr std::uintptr_t locked = 1;
  static constexpr std::uintptr_t queued = 2;
  static constexpr std::uintptr_t closed = 4;
  static constexpr std::uintptr_t flags = 7;  // no address: see newcomer_waiter
  // line_: the first one, or 0; or, while somebody changes the ring,
  //   busy
  //   busy | unlocked   the owner has left the lock to who is busy
  static constexpr std::uintptr_t busy = 1;
  static constexpr std::uintptr_t unlocked = 2;

  static constexpr std::uint32_t bounded = std::uint32_t{1} << 31;  // in in_run_
  static constexpr std::uint32_t longest_run = 64;      // what is moved while busy
  static constexpr std::uint32_t passed_by = 4 * loss;  // what it is to be passed by coroutines
  static constexpr std::uint32_t patience = 12 * loss;

  static bool is_thread(const waiter& node) noexcept { return (node.amount & thread) != 0; }
  static waiter* stack_of(std::uintptr_t word) noexcept {
    return reinterpret_cast<waiter*>(word & ~flags);
  }
  std::uintptr_t look() const noexcept {
    // order: relaxed: a guess that goes stale at once, that a compare-exchange verifies, or a bit that who is busy has to itself
    return state_.load(std::memory_order_relaxed);
  }
  std::uintptr_t look_at_line() const noexcept {
    // order: relaxed: a guess that a compare-exchange verifies
    return line_.load(std::memory_order_relaxed);
  }
  bool is_bounded() const noexcept { return (counted(in_run_) & bounded) != 0; }
  bool is_full() const noexcept {
    return is_bounded() && counted(in_line_) >= (counted(in_run_) & ~bounded);
  }
  static std::uint32_t counted(const std::atomic<std::uint32_t>& number) noexcept {
    // order: relaxed: the limit never changes; in_line_ is read while busy; the rest is information
    return number.load(std::memory_order_relaxed);
  }
  static void count(std::atomic<std::uint32_t>& number, std::uint32_t value) noexcept {
    // order: relaxed: as above
    number.store(value, std::memory_order_relaxed);
  }
  void one_less_in_run() noexcept { count(in_run_, counted(in_run_) - 1); }

  ring enter() noexcept;
  ring enter_in_turn() noexcept;
  bool enter_or_delegate(ring& line) noexcept;
  bool leave(const ring& line) noexcept;
  void leave_as_owner(const ring& line) noexcept;
  handed leave_or_pass_on(ring& line) noexcept;

  void push_back(ring& line, waiter& node) noexcept;
  bool take_off(ring& line, waiter& node) noexcept;
  void collect(ring& line) noexcept;
  void collect_all(ring& line) noexcept;
  bool stand(ring& line, waiter& node, bool again) noexcept;
  bool stays_after(ring& line, waiter* self) noexcept;
  bool withdraw(waiter& node, wait_status why, handed& to) noexcept;
  waiter* pop(ring& line) noexcept;
  waiter* pop_run(ring& line) noexcept;
  waiter* let_threads_pass(ring& line) noexcept;
  waiter* choose(ring& line) noexcept;
  blocked* compete_for(ring& line) noexcept;
  bool serve(ring& line, handed& to, waiter* self) noexcept;

  bool remove_from_run(waiter& node) noexcept;
  handed pass_on(ring* line = nullptr, waiter* self = nullptr) noexcept;
  void unlock_slowly() noexcept;
  waiter* make_run(waiter* newcomers) noexcept;
  void refuse_run() noexcept;
  bool wait_once(std::uint32_t& losses, const std::chrono::steady_clock::time_point* deadline,
                 wait_status& how) noexcept;
  bool compete(bool others) noexcept;

  std::atomic<std::uintptr_t> state_{0};
  waiter* run_ = nullptr;                  // newcomers in order, singly linked; the owner's
  std::atomic<std::uintptr_t> line_{0};
  std::atomic<std::uint32_t> in_run_{0};   // how many are in run_; or the limit
  std::atomic<std::uint32_t> in_line_{0};  // how many stand in line
};

// Leaves the low bits of its address to the word, also where pointers have four bytes.
class alignas(8) newcomer_waiter : public coroutine_waiter {
protected:
  explicit newcomer_waiter(wake_function function) noexcept : coroutine_waiter(function) {}
  ~newcomer_waiter() = default;
};

inline mutex_queue::~mutex_queue() {
  if ((look() & ~closed) != 0 || look_at_line() != 0) {
    misuse("~async_mutex: still owned or waited for; let every guard and every waiter go first");
  }
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
    // order: release/relaxed [mutex_queue.push] pairs with [mutex_queue.run], [mutex_queue.collect], [mutex_queue.close]: publishes the node
    if (state_.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(&node) | (seen & flags),
                                     std::memory_order_release, std::memory_order_relaxed)) {
      return true;
    }
  }
}

// ---- unlock -------------------------------------------------------------------------------------

[[gnu::always_inline]] inline void mutex_queue::unlock() noexcept {
  if (run_ != nullptr) {
    if (is_closed()) return refuse_run();
    waiter* const next = run_;
    run_ = next->next;
    one_less_in_run();
    next->wake();
    return;
  }
  std::uintptr_t seen = locked;
  // order: release/relaxed [mutex_queue.unlock] pairs with [mutex_queue.take], [mutex_queue.compete], [mutex_queue.stand]: publishes what this owner did
  if (look_at_line() != 0 ||
      !state_.compare_exchange_strong(seen, 0, std::memory_order_release,
                                      std::memory_order_relaxed)) {
    unlock_slowly();
  }
}

[[gnu::noinline]] inline void mutex_queue::unlock_slowly() noexcept {
  pass_on().wake();
}

inline void mutex_queue::handed::wake(waiter* first) const noexcept {
  waiter* const all[] = {first, next, rival};
  waiter* list = nullptr;
  for (int i = 2; i >= 0; --i) {
    if (all[i] == nullptr) continue;
    all[i]->next = list;
    list = all[i];
  }
  if (list == nullptr) return;
  list->next == nullptr ? list->wake() : wake_all(list);
}

// Effects: gives the lock, and the line if the caller is busy with it, to whom it is due. `self` is
//          the caller's own node in the line.
// Preconditions: the caller has the lock, and no run.
inline mutex_queue::handed mutex_queue::pass_on(ring* line, waiter* self) noexcept {
  handed to;
  ring mine;
  while (true) {
    if (line != nullptr) {
      if (serve(*line, to, self)) return to;
      line = nullptr;
    }
    std::uintptr_t seen = look();
    if ((seen & locked) == 0) {
      misuse("async_mutex: unlocked while free; adopt only a mutex that a guard released");
    }
    if ((seen & queued) != 0) {
      if (!enter_or_delegate(mine)) return to;
      line = &mine;
    } else if (stack_of(seen) != nullptr) {
      // order: acquire/relaxed [mutex_queue.run] pairs with [mutex_queue.push]: sees the newcomers
      if (state_.compare_exchange_weak(seen, seen & flags, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        to.next = make_run(stack_of(seen));
        return to;
      }
      // order: release/relaxed [mutex_queue.free] pairs with [mutex_queue.take], [mutex_queue.compete], [mutex_queue.stand]: publishes what this owner did
    } else if (state_.compare_exchange_weak(seen, seen & ~locked, std::memory_order_release,
                                            std::memory_order_relaxed)) {
      return to;
    }
  }
}

// Effects: makes those behind the oldest of the newcomers the run. Returns: the oldest.
inline waiter* mutex_queue::make_run(waiter* newcomers) noexcept {
  waiter* run = nullptr;
  std::uint32_t behind = 0;
  while (newcomers->next != nullptr) {
    waiter* const older = newcomers->next;
    newcomers->next = run;
    run = newcomers;
    newcomers = older;
    ++behind;
  }
  run_ = run;
  count(in_run_, behind);
  return newcomers;
}

// Effects: unlocks a closed mutex and tells the run.
[[gnu::noinline]] inline void mutex_queue::refuse_run() noexcept {
  waiter* const told = std::exchange(run_, nullptr);
  for (waiter* each = told; each != nullptr; each = each->next) each->status = wait_status::closed;
  count(in_run_, 0);
  unlock_slowly();
  wake_all(told);
}

inline bool mutex_queue::remove_from_run(waiter& node) noexcept {
  waiter** at = &run_;
  while (*at != nullptr && *at != &node) at = &(*at)->next;
  if (*at == nullptr) return false;
  *at = node.next;
  one_less_in_run();
  return true;
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
    if (deadline != nullptr && !self.wait_until(*deadline)) {
      handed to;
      const bool left = withdraw(self, wait_status::timed_out, to);
      to.wake();
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
    std::uintptr_t seen = look();
    if ((seen & closed) != 0) return false;
    // order: acquire/relaxed [mutex_queue.compete] pairs with [mutex_queue.unlock], [mutex_queue.free]: sees what the last owner did
    if (seen == 0 && state_.compare_exchange_strong(seen, others ? locked | queued : locked,
                                                    std::memory_order_acquire,
                                                    std::memory_order_relaxed)) {
      return true;
    }
    spin_hint(round);
  }
  return false;
}

}  // namespace interlock::detail
