// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/striped_counter.hpp - count from many threads at once without queueing for one word.
//
// Problem     Every increment of a shared word moves its cache line to the next processor, so a
//             request counter gets slower with each core. Sums over slots are fast but inexact,
//             and resetting one loses what arrives meanwhile.
// Guarantee   No striped add is lost even when its thread ends.
//             A striped add never waits for a load_exact or an exchange.
//             A load counts all that happened before it and counts no operation by half.
//             Loads of a striped counter that only grows never go backwards.
//             A load_exact returns a value that the counter had during the call.
//             A striped exchange takes the exact value and loses no concurrent add.
// Progress    add, sub, load: wait-free but for the few adds that spread the counter and may
//             allocate. load_exact, exchange: lock-free while fewer than 16383 run at once.
// Cost        16 bytes; once threads have collided, 8 more for each processor. Where the system
//             has restartable sequences (Linux, x86-64 and AArch64) a spread add is a plain
//             addition to a line of this processor's own; elsewhere a compare-and-swap on a
//             line that the thread seldom shares. Before that: one fetch_add.
// Lifetime    Must outlive the return of every call. Threads may end at any time.
// Not for     Signal handlers; decisions on the value (use striped_bounded_counter); gauges read
//             by load(), which may count a sub and miss the add before it (use load_exact).
//
// Example     striped_counter requests;                       // examples/striped_counter.cpp
//             const auto serve = [&] { ++requests; };         // on any number of threads
//             reported += requests.exchange(0);               // each is in exactly one report

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "detail/column.hpp"
#include "detail/parking.hpp"
#include "detail/restartable.hpp"
#include "detail/restartable_twin.hpp"
#include "detail/stripe_state.hpp"

namespace interlock {

class striped_counter {
public:
  using value_type = std::int64_t;

  constexpr striped_counter() noexcept = default;
  explicit constexpr striped_counter(std::int64_t initial) noexcept
      : base_(static_cast<std::uint64_t>(initial)) {}
  striped_counter(const striped_counter&) = delete;
  striped_counter& operator=(const striped_counter&) = delete;
  ~striped_counter();

  // Effects: adds n (subtracts n), modulo 2^64: past the largest value it goes on from the
  //          smallest. Never undefined, also where a slot or the base word wraps on the way.
  // Synchronization: happens-before the return of a load, load_exact or exchange that counts it.
  void add(std::int64_t n) noexcept { land(static_cast<std::uint64_t>(n)); }
  void sub(std::int64_t n) noexcept { land(0 - static_cast<std::uint64_t>(n)); }
  void operator+=(std::int64_t n) noexcept { add(n); }
  void operator-=(std::int64_t n) noexcept { sub(n); }
  void operator++() noexcept { add(1); }
  void operator--() noexcept { sub(1); }

  // Returns: the value when the call began, changed by some of the operations that overlap it.
  //          While these are additions it is no less than all that was added before the call and
  //          no more than all that was begun before the return. With additions and subtractions
  //          mixed it may be a value that the counter never had.
  // Complexity: linear in the processors.
  [[nodiscard]] std::int64_t load() const noexcept;

  // Returns: the value at one moment during the call (linearizable).
  // Complexity: linear in the processors, and a system call that interrupts those that run this
  //             process; adds go to the base word meanwhile. A load before the counter has spread.
  [[nodiscard]] std::int64_t load_exact() const noexcept;

  // Effects: at one moment during the call (linearizable), replaces the value by `desired`.
  // Returns: the value replaced. exchange(0) drains: each add is in exactly one drain.
  // Complexity: as load_exact.
  [[nodiscard("this is what was counted so far, and it is no longer in the counter")]]
  std::int64_t exchange(std::int64_t desired) noexcept;

  // Effects: takes the slots now, rather than when threads first collide. Without memory: none.
  void spread() noexcept;

private:
  void land(std::uint64_t n) noexcept;
  void land_in_base(std::uint64_t n) noexcept;
  void land_without_sequence(std::uint64_t n) noexcept;
  void look_again(std::uint64_t mine) noexcept;
  static constexpr bool is_sample(std::uint64_t value, std::uint64_t n) noexcept;
  std::uint64_t freeze() const noexcept;
  void thaw() const noexcept;

  // The value is base_ plus the tallies of all slots, modulo 2^64.
  //   base_   takes what finds no slot: adds before the counter spreads, and while it is frozen
  //   state_  where the slots are, and how many calls keep them still: detail/stripe_state.hpp
  std::atomic<std::uint64_t> base_{0};
  mutable std::atomic<std::uint64_t> state_{detail::no_slots};
};

static_assert(sizeof(striped_counter) == 16, "two words, and slots that objects share lines of");

// Starts as one word and spreads when threads collide, as Striped64 of java.util.concurrent by
// D. Lea does. It notices a collision by a failed compare-and-swap. Here one add in 64 looks again
// whether the word is still as it left it: on x86-64 even a plain read beside each fetch_add would
// make that cost 1.7 times as much.
//
// Why load_exact and exchange are linearizable. Call one of them R. It marks the state, makes sure
// that no add which missed the mark is still to land in a slot (restartable.hpp and its twin say
// how), sums the slots, then reads or exchanges the base word, and takes its mark back. From the
// second step to the last no slot changes; adds go to the base word. So what R returns is the sum
// of all words at the moment of its step on the base word, which is where it takes effect. Several
// R at once do not disturb each other: slots move only when no mark is left.
//   In the terms of the memory model: an add A to a slot that R missed has seen the end of R's
//   mark, so R happens before A. An add to the base word that R missed comes after R in the order
//   of that word. What R counted happens before R. So if R missed A and B comes after A, R missed
//   B, and two R that disagree on A and B in opposite ways would have to precede each other.
//   load_exact before the spreading reads the base word and then finds that there are no slots;
//   seq_cst on the four accesses keeps it from doing so behind the back of an R that has slots.
//
// A load() reads base_ first: one that counts an exchange thereby reads all that the exchange
// took out, and never subtracts what it did not count.
//
// The tempting wrong ways: sum and then set every slot to zero (loses what lands in between);
// exchange each slot for zero (loses nothing, but the value returned never existed); let adds wait
// for the reader (one that is preempted then stops every thread that counts).

inline void striped_counter::land(std::uint64_t n) noexcept {
  // order: relaxed: both ways are correct, and who uses a slot looks for himself
  if (detail::slots_open(state_.load(std::memory_order_relaxed))) [[likely]] {
    if (detail::restartable::add(state_, n)) [[likely]] return;
    return land_without_sequence(n);
  }
  land_in_base(n);
}

inline void striped_counter::land_in_base(std::uint64_t n) noexcept {
  // order: seq_cst [striped_counter.land] total order with [striped_counter.load_exact.base], [striped_counter.load_exact.moment] and pairs with [striped_counter.load.base], [striped_counter.exchange]: an exact read without slots and one with slots see this add in the same order
  const std::uint64_t before = base_.fetch_add(n, std::memory_order_seq_cst);
  if (is_sample(before, n)) [[unlikely]] look_again(before + n);
}

[[gnu::noinline]] inline void striped_counter::land_without_sequence(std::uint64_t n) noexcept {
  if (detail::restartable::available() || !detail::restartable_twin::add(state_, n)) {
    land_in_base(n);
  }
}

// Returns: true for one in 64 of the values that adds of n come by, among them 2 (gauges stay low).
//          A pattern that processors predict: else it would cost more than what it decides on.
constexpr bool striped_counter::is_sample(std::uint64_t value, std::uint64_t n) noexcept {
  const std::uint64_t step = n & (0 - n);  // the lowest bit that such adds change
  return (value & (63 * step)) == 2 * step;
}

// Effects: spreads the counter if somebody else has changed the base word since it was `mine`.
[[gnu::noinline]] inline void striped_counter::look_again(std::uint64_t mine) noexcept {
  // order: relaxed: adds nothing; that it takes as long as an add is what makes it likely to meet one
  if (base_.fetch_add(0, std::memory_order_relaxed) != mine) spread();
}

inline void striped_counter::spread() noexcept {
  // order: relaxed: a guess, the compare_exchange tells; who uses the slots looks for himself
  std::uint64_t seen = state_.load(std::memory_order_relaxed);
  if (detail::has_slots(seen)) return;
  const std::size_t rows = detail::restartable::rows();
  detail::stripe_slot* const column = detail::the_columns.take(rows);
  if (column == nullptr) return;  // slower, not wrong
  const std::uint64_t fresh = detail::state_of(column);
  // Freezers that are in stay in: nobody uses the slots before they leave.
  // order: release/relaxed [striped_counter.spread] pairs with [striped_counter.load.state], [striped_counter.freeze], [twin.add.column]: the slots are zeros
  while (!state_.compare_exchange_weak(seen, detail::with_slots(seen, fresh),
                                       std::memory_order_release, std::memory_order_relaxed)) {
    if (detail::has_slots(seen)) {
      detail::column_pool::give_back(column, rows);
      return;
    }
  }
}

// Effects: marks the state and makes sure that no add that missed the mark lands in a slot.
// Returns: what is in the slots, which stays so until thaw().
inline std::uint64_t striped_counter::freeze() const noexcept {
  // order: relaxed: a guess, the compare_exchange tells
  std::uint64_t seen = state_.load(std::memory_order_relaxed);
  for (unsigned round = 0;;) {
    if (detail::freezers(seen) == detail::most_freezers) {
      detail::spin_hint(round++);
      // order: relaxed: as above
      seen = state_.load(std::memory_order_relaxed);
      continue;
    }
    // order: seq_cst/relaxed [striped_counter.freeze] total order with [striped_counter.load_exact.state] and pairs with [striped_counter.spread]: who counts in the slots comes after whoever found none
    if (state_.compare_exchange_weak(seen, seen + detail::one_freezer, std::memory_order_seq_cst,
                                     std::memory_order_relaxed)) {
      break;
    }
  }
  if (!detail::has_slots(seen)) return 0;
  const bool at_once = detail::restartable::available();
  if (at_once) detail::restartable::interrupt();
  std::uint64_t total = 0;
  for (std::size_t row = 0; row < detail::restartable::rows(); ++row) {
    detail::stripe_slot& slot = detail::slot_of(seen, row);
    // order: acquire [striped_counter.freeze.slot] pairs with [twin.add]: in its place, what the sequence stored: what was done before an add is seen by who counts it
    total += at_once ? slot.load(std::memory_order_acquire)
                     : static_cast<std::uint64_t>(detail::restartable_twin::interrupt(slot));
  }
  return total;
}

inline void striped_counter::thaw() const noexcept {
  // order: release [striped_counter.thaw] pairs with [twin.add.state]: an add after the freeze comes after all of it
  state_.fetch_sub(detail::one_freezer, std::memory_order_release);
}

inline std::int64_t striped_counter::load() const noexcept {
  // order: acquire [striped_counter.load.base] pairs with [striped_counter.land], [striped_counter.exchange]: the slots are at least as new
  std::uint64_t total = base_.load(std::memory_order_acquire);
  // order: acquire [striped_counter.load.state] pairs with [striped_counter.spread]: the slots are zeros
  const std::uint64_t state = state_.load(std::memory_order_acquire);
  if (!detail::has_slots(state)) return static_cast<std::int64_t>(total);
  const bool whole = detail::restartable::available();
  for (std::size_t row = 0; row < detail::restartable::rows(); ++row) {
    // order: acquire [striped_counter.load.slot] pairs with [twin.add]: what was done before an add is seen by who counts it
    const std::uint64_t slot = detail::slot_of(state, row).load(std::memory_order_acquire);
    total += whole ? slot : static_cast<std::uint64_t>(detail::restartable_twin::tally(slot));
  }
  return static_cast<std::int64_t>(total);
}

inline std::int64_t striped_counter::load_exact() const noexcept {
  // order: seq_cst [striped_counter.load_exact.base] total order with [striped_counter.land] and pairs with [striped_counter.exchange]: see the proof
  const std::uint64_t alone = base_.load(std::memory_order_seq_cst);
  // order: seq_cst [striped_counter.load_exact.state] total order with [striped_counter.freeze]: see the proof
  if (!detail::has_slots(state_.load(std::memory_order_seq_cst))) {
    return static_cast<std::int64_t>(alone);
  }
  const std::uint64_t slots = freeze();
  // order: seq_cst [striped_counter.load_exact.moment] total order with [striped_counter.land] and pairs with [striped_counter.exchange]: see the proof
  const std::uint64_t value = slots + base_.load(std::memory_order_seq_cst);
  thaw();
  return static_cast<std::int64_t>(value);
}

inline std::int64_t striped_counter::exchange(std::int64_t desired) noexcept {
  const std::uint64_t slots = freeze();
  // order: acq_rel [striped_counter.exchange] pairs with [striped_counter.load.base], [striped_counter.load_exact.base], [striped_counter.load_exact.moment], [striped_counter.land]: what it took out was done before, for whoever counts it
  const std::uint64_t base = base_.exchange(static_cast<std::uint64_t>(desired) - slots,
                                            std::memory_order_acq_rel);
  thaw();
  return static_cast<std::int64_t>(slots + base);
}

inline striped_counter::~striped_counter() {
  // order: relaxed: every call has returned
  const std::uint64_t state = state_.load(std::memory_order_relaxed);
  if (detail::has_slots(state)) {
    detail::column_pool::give_back(&detail::slot_of(state, 0), detail::restartable::rows());
  }
}

}  // namespace interlock
