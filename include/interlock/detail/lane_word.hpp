// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lane_word.hpp - the word of a lane, and every step that changes it.
//
// It says whether there is a runner (the thread that does the work) and holds a stack of what
// arrived meanwhile. The CAS that pushes learns at once "there was no runner, so I am it", or
// "closed". The runner takes the whole stack, turns it round, and leaves by a CAS that fails if
// more has arrived. Nothing is ever half-linked, and work runs as it was pushed.
//
// Who may leave before its turn stands in a line beside it, a ring with a lock of its owner's;
// `line_bit` says that it is not empty. What was pushed before it goes into the line with it, and
// what is pushed later stays in the stack. So the order is: what the runner has, line, stack.
//
// Source: CAF's lifo_inbox.

#include <atomic>
#include <cstdint>
#include <utility>

#include "lane_work.hpp"
#include "ring.hpp"

namespace interlock::detail {

class lane_word {
public:
  lane_word() = default;
  lane_word(const lane_word&) = delete;
  lane_word& operator=(const lane_word&) = delete;

  void close() noexcept {
    // order: relaxed: one word has one order, so later pushes see the bit; it publishes nothing
    word_.fetch_or(closed_bit, std::memory_order_relaxed);
  }
  bool closed() const noexcept { return (look() & closed_bit) != 0; }
  // Returns: whether nobody is in it; then this sees what the last runner did.
  bool is_idle() const noexcept {
    // order: acquire [lane.idle] pairs with [lane.leave]: sees what the last runner did
    return (word_.load(std::memory_order_acquire) & ~closed_bit) == 0;
  }

protected:
  // word_:
  //   0                              idle
  //   running_bit [| newest work]    a runner, and a stack of what it has not taken yet
  //   watched_bit [| newest work]    no runner: a thread that watches the word becomes it when it
  //                                  sees work; without work anybody may
  //   offered                        a runner that has done its quantum: whoever comes from outside
  //                                  of tasks waits a moment for the role
  //   running or watched | line_bit  somebody stands in the line
  //   ... | closed_bit               nothing enters any more
  static constexpr std::uintptr_t running_bit = 1;
  static constexpr std::uintptr_t closed_bit = 2;
  static constexpr std::uintptr_t watched_bit = 4;
  static constexpr std::uintptr_t offered = running_bit | watched_bit;
  static constexpr std::uintptr_t line_bit = 8;
  static constexpr std::uintptr_t flags = 15;

  static work* newest(std::uintptr_t word) noexcept {
    return reinterpret_cast<work*>(word & ~flags);
  }
  static bool has_work(std::uintptr_t word) noexcept {
    return newest(word) != nullptr || (word & line_bit) != 0;
  }
  static bool is_unattended(std::uintptr_t word) noexcept {
    return (word & (running_bit | watched_bit)) == 0;
  }
  static bool is_offered(std::uintptr_t word) noexcept { return (~word & offered) == 0; }

  std::uintptr_t look() const noexcept {
    // order: relaxed: asks for a bit, or is a guess that an exchange verifies
    return word_.load(std::memory_order_relaxed);
  }

  // Returns: true if the lane was idle and this thread is its runner now.
  bool enter() noexcept {
    std::uintptr_t seen = 0;
    // order: acquire/relaxed [lane.enter] pairs with [lane.leave]: sees what the last runner did
    if (word_.compare_exchange_strong(seen, running_bit, std::memory_order_acquire,
                                      std::memory_order_relaxed)) [[likely]] {
      return true;
    }
    if (seen != watched_bit) return false;
    // order: acquire/relaxed [lane.enter.watched] pairs with [lane.leave]: as above
    return word_.compare_exchange_strong(seen, running_bit, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  // Effects: the runner leaves; `left` is what remains in the word but for closed_bit.
  // Returns: false, and this thread stays the runner, if work has arrived.
  bool leave(std::uintptr_t left) noexcept {
    std::uintptr_t seen = look();  // a failed exchange would take the line from who pushes
    do {
      if (has_work(seen)) return false;
      // order: release/relaxed [lane.leave] pairs with [lane.enter], [lane.enter.watched], [lane.idle], [lane.push], [lane.stand]: publishes what was done
    } while (!word_.compare_exchange_weak(seen, (seen & closed_bit) | left,
                                          std::memory_order_release, std::memory_order_relaxed));
    return true;
  }

  // Effects: pushes the work, and behind it, in one step, what this thread waits on, if anything.
  //          If patient, it lets others who push at the same time do so for a while.
  // Returns: the word before. With a refusing bit in it the work was not pushed; if unattended this
  // thread is the runner now; else the work may be done and the lane gone.
  std::uintptr_t push(work& w, std::uintptr_t refusing, bool patient, work* behind) noexcept {
    work* const top = behind == nullptr ? &w : behind;
    if (behind != nullptr) behind->next = &w;
    std::uintptr_t seen = look();
    for (;;) {
      if ((seen & refusing) != 0) return seen;
      w.next = newest(seen);
      const std::uintptr_t pushed = reinterpret_cast<std::uintptr_t>(top) | (seen & flags) |
                                    (is_unattended(seen) ? running_bit : 0);
      // order: acq_rel/relaxed [lane.push] pairs with [lane.collect], [lane.leave], [lane.stand]: publishes the work; sees what the last runner did
      if (word_.compare_exchange_weak(seen, pushed, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        return seen;
      }
      if (!patient) continue;
      spin_hint(long_pause);
      seen = look();
    }
  }

  // Effects: adds what has been pushed, in the order of its arrival, unless somebody stands in the
  //          line: that came before it. Returns: false then.
  bool collect(batch& todo) noexcept {
    std::uintptr_t seen = look();
    do {
      if ((seen & line_bit) != 0) return false;
      // order: acquire/relaxed [lane.collect] pairs with [lane.push]: sees the work as it was pushed
    } while (!word_.compare_exchange_weak(seen, seen & flags, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    const batch more = in_order(newest(seen));
    if (more.first == nullptr) return true;
    todo.append(more.first, more.last);
    todo.threads += more.threads;
    return true;
  }

  // Effects: with the line locked: makes what has been pushed stand in the line, and this behind;
  //          if the lane is unattended, only if `anyway`.
  // Returns: the word before: as of push().
  std::uintptr_t stand(ring_of<work>& line, work& w, std::uintptr_t refusing,
                       bool anyway) noexcept {
    std::uintptr_t seen = look();
    std::uintptr_t after = 0;
    do {
      if ((seen & refusing) != 0) return seen;
      after = (seen & flags) | (is_unattended(seen) ? running_bit : line_bit) |
              (anyway ? line_bit : 0);
      // order: acquire/relaxed [lane.stand] pairs with [lane.push], [lane.leave]: sees the work as it was pushed, or what the last runner did; the line has a lock
    } while (!word_.compare_exchange_weak(seen, after, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    for (work* each = in_order(newest(seen)).first; each != nullptr;) {
      work& one = *std::exchange(each, each->next);
      line.push_back(one);
    }
    if ((after & line_bit) != 0) line.push_back(w);
    return seen;
  }
  // Effects: by the runner, with the line locked: nobody stands in it any more. Who leaves the line
  //          does not do it: it would touch the lane when the runner may have gone.
  void line_is_empty() noexcept {
    // order: relaxed: the line has a lock; and the runner leaves behind this
    word_.fetch_and(~line_bit, std::memory_order_relaxed);
  }

  // Effects: by the runner: asks for somebody from outside of tasks to be it.
  void offer() noexcept {
    // order: relaxed: asks for somebody, who pushes
    if (!is_offered(look())) word_.fetch_or(offered, std::memory_order_relaxed);
  }
  void withdraw_offer() noexcept {
    // order: relaxed: nobody asks any more
    if (is_offered(look())) word_.fetch_and(~watched_bit, std::memory_order_relaxed);
  }

  // Effects: for a thread that has left watched_bit behind: looks for work, with longer and longer
  //          pauses, so that what comes fast comes together.
  // Returns: true if this thread is the runner. Else the lane may be gone.
  bool watch() noexcept {
    for (unsigned round = 0;; ++round) {
      std::uintptr_t seen = look();
      while ((seen & watched_bit) != 0) {  // nobody else has become the runner
        if (!has_work(seen) && round < watch_rounds) break;
        const bool runs = has_work(seen);
        const std::uintptr_t after = (seen & ~watched_bit) | (runs ? running_bit : 0);
        // order: relaxed/relaxed: this thread was the last runner, or the bit were gone; collect() sees the work, and who enters next what leave() published
        if (word_.compare_exchange_weak(seen, after, std::memory_order_relaxed,
                                        std::memory_order_relaxed)) {
          return runs;
        }
      }
      if ((seen & watched_bit) == 0) return false;
      spin_hint(round < long_pause ? round : long_pause);
    }
  }

  static constexpr unsigned long_pause = 5;  // for spin_hint: in it the runner does dozens of tasks

private:
  static batch in_order(work* stack) noexcept {
    batch all{nullptr, stack, 0};
    while (stack != nullptr) {
      // Else each would be waited for in turn: only the one before knows where it is.
      const work* const older = std::exchange(stack->previous, nullptr);
      if (older != nullptr) __builtin_prefetch(older);
      if (stack->has_thread()) ++all.threads;
      all.first = std::exchange(stack, std::exchange(stack->next, all.first));
    }
    return all;
  }

  static constexpr unsigned watch_rounds = 12;

  std::atomic<std::uintptr_t> word_{0};
};

}  // namespace interlock::detail
