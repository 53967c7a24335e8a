// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/turnstile.hpp - whose turn it is when optimism does not help.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "parking.hpp"

namespace interlock::detail {

// First come, first served, for transactions that keep losing.
class turnstile {
public:
  // Effects: waits for this thread's turn.
  void enter() noexcept {
    // order: relaxed: hands out numbers, nothing else
    const std::uint32_t mine = next_.fetch_add(1, std::memory_order_relaxed);
    for (unsigned round = 0;; ++round) {
      // order: acquire [turnstile.enter] pairs with [turnstile.leave]: one turn comes after the other
      const std::uint32_t serving = serving_.load(std::memory_order_acquire);
      if (serving == mine) return;
      if (round < spin_rounds) {
        spin_hint(round);
      } else {
        park(serving_, serving);
      }
    }
  }

  // Preconditions: this thread has the turn.
  void leave() noexcept {
    // order: release [turnstile.leave] pairs with [turnstile.enter], [turnstile.let_pass]: passes on the turn
    serving_.fetch_add(1, std::memory_order_release);
    unpark_all(&serving_);
  }

  // Returns: true if somebody has the turn. It may have ended.
  bool is_taken() const noexcept {
    // order: relaxed: let_pass() looks again
    const std::uint32_t serving = serving_.load(std::memory_order_relaxed);
    // order: relaxed: a late answer costs the other one attempt
    return next_.load(std::memory_order_relaxed) != serving;
  }

  // Effects: if somebody has the turn, waits until that turn ends, but not for ever: the thread
  //          that has it may be waiting for a lock that this one holds.
  void let_pass() const noexcept {
    // order: acquire [turnstile.let_pass] pairs with [turnstile.leave]: next_ is at least as new, so a difference is a turn that will end
    const std::uint32_t serving = serving_.load(std::memory_order_acquire);
    // order: relaxed: a late answer costs the other one attempt
    if (next_.load(std::memory_order_relaxed) == serving) return;
    const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    // order: relaxed: nothing is read that the turn protects
    while (serving_.load(std::memory_order_relaxed) == serving &&
           park_until(serving_, serving, patience)) {
    }
  }

private:
  park_word next_{0};     // the number that the next to enter gets
  park_word serving_{0};  // whose turn it is; nobody's if equal to next_
};

// One transaction's way through its attempts: a few at its own risk, then by turn. A snapshot that
// is taken in its body has attempts of its own, and uses the turn that this thread has.
class attempts {
public:
  attempts() = default;
  attempts(const attempts&) = delete;
  attempts& operator=(const attempts&) = delete;
  ~attempts() { leave(); }

  // Effects: gives back the turn, if this is it. The next attempt is the first one again.
  void leave() noexcept {
    if (made_ > at_own_risk) {
      has_turn = false;
      turns.leave();
    }
    made_ = 0;
  }

  // Effects: waits until the next attempt may start: for this thread's turn, or a while for the end
  //          of the turn that somebody else has, and not for the one after.
  void next() noexcept {
    if (made_ != 0 || turns.is_taken()) [[unlikely]] return next_slowly();
    made_ = 1;
  }

private:
  [[gnu::noinline]] void next_slowly() noexcept {
    if (has_turn && made_ <= at_own_risk) {
      spin_hint(made_);
      if (made_ < at_own_risk) ++made_;
      return;
    }
    if (made_ < at_own_risk) {
      turns.let_pass();
      if (made_ > 0) spin_hint(made_ - 1);
    } else if (made_ == at_own_risk) {
      turns.enter();
      has_turn = true;
    } else {
      spin_hint(made_ - at_own_risk);  // for a plain commit, or a claim
    }
    if (made_ <= 2 * at_own_risk) ++made_;
  }

  static constexpr unsigned at_own_risk = 16;
  static inline constinit turnstile turns;
  static inline constinit thread_local bool has_turn = false;
  unsigned made_ = 0;
};

}  // namespace interlock::detail
