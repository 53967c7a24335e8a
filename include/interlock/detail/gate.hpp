// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/gate.hpp - a word that many pass at the price of a load while one closes it.
//
// pass() comes last in what a passer does. While the gate is closed nobody gets through, so what
// a passer did too late for the closer to see has not returned to its caller yet, and may count
// as done after the gate opened. The closer therefore may take its time to look around.
//
// A passer waits for the closing that it met, never for a later one: closers cannot starve it.

#include <atomic>
#include <cstdint>

#include "parking.hpp"

namespace interlock::detail {

class gate {
public:
  gate() = default;
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;

  // Effects: if the gate is closed, blocks until it has been opened since.
  // Synchronization: the open() of every closing that this call comes after or waited for
  //                  happens-before its return.
  void pass() noexcept {
    // order: seq_cst [gate.pass] total order with [gate.close] and pairs with [gate.open]: a passer that misses the closing has what it did before seen by the closer
    const std::uint32_t seen = word_.load(std::memory_order_seq_cst);
    if ((seen & closed) != 0) [[unlikely]] {
      wait_past(seen);
    }
  }

  // Effects: closes the gate, after whoever holds it closed.
  void close() noexcept {
    // order: relaxed: a guess, the exchange below tells
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    do {
      while ((seen & closed) != 0) seen = wait_past(seen);
      // order: seq_cst/relaxed [gate.close] total order with [gate.pass] and pairs with [gate.open]: what the closer reads from here on is missed only by passers that see the gate closed
    } while (!word_.compare_exchange_weak(seen, seen | closed, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
  }

  // Effects: opens the gate.
  // Preconditions: the caller closed it.
  void open() noexcept {
    // order: relaxed: while closed, only the parked bit changes, and that one is dropped here
    const std::uint32_t turn = word_.load(std::memory_order_relaxed) / one_turn;
    const std::uint32_t next = (turn + 1) * one_turn;
    // order: release [gate.open] pairs with [gate.pass], [gate.close], [gate.wait_past]: whoever gets through comes after all that the closer did
    const std::uint32_t before = word_.exchange(next, std::memory_order_release);
    if ((before & parked) != 0) unpark_all(&word_);
  }

private:
  // word_ = turn * 4 + parked * 2 + closed
  //   closed  set by close(), cleared by open()
  //   parked  set by a waiter while closed, cleared by open(), which then has to unpark
  //   turn    counts the closings; it tells a waiter that its own closing is over, even if the
  //           next one has begun. When it wraps, a waiter waits for one closing more at worst.
  static constexpr std::uint32_t closed = 1;
  static constexpr std::uint32_t parked = 2;
  static constexpr std::uint32_t one_turn = 4;

  // Effects: blocks until the closing in `seen` is over.
  // Returns: the word after it.
  std::uint32_t wait_past(std::uint32_t seen) noexcept {
    const std::uint32_t asleep = seen | parked;
    for (unsigned round = 0;; ++round) {
      // order: acquire [gate.wait_past] pairs with [gate.open]: comes after all that the closer did
      std::uint32_t now = word_.load(std::memory_order_acquire);
      if ((now | parked) != asleep) return now;
      if (round < spin_rounds) {
        spin_hint(round);
        continue;
      }
      // order: relaxed: only asks open() to unpark; the load above orders
      if (now == asleep || word_.compare_exchange_weak(now, asleep, std::memory_order_relaxed,
                                                       std::memory_order_relaxed)) {
        park(word_, asleep);
      }
    }
  }

  park_word word_{0};
};

}  // namespace interlock::detail
