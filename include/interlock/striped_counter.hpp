// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/striped_counter.hpp - count from many threads at once without queueing for one word.
//
// Problem     Every increment of a shared word moves its cache line to the next processor, so a
//             request counter gets slower with each core. Sums over slots are fast but inexact,
//             and resetting one loses what arrives meanwhile.
// Guarantee   No striped add is lost even when its thread ends.
//             A load counts everything that happened before it.
//             A load counts each overlapping operation wholly or not at all.
//             Loads of a counter that only grows never go backwards.
//             A load_exact returns a value that the counter had during the call.
//             A striped exchange takes the exact value and loses no concurrent add.
// Progress    load: wait-free. load_exact, exchange: blocking, one at a time. add, sub: they
//             wait for a load_exact or exchange that is summing; otherwise wait-free, but for
//             the few that spread the counter and allocate.
// Cost        24 bytes; where threads collide, also cache lines: first 3, at most about 8 per
//             processor. add is one fetch_add, then on a line that the thread seldom shares.
// Lifetime    Must outlive the return of every call. Threads may end at any time.
// Not for     Signal handlers; decisions on the value (use bounded_counter); gauges read through
//             load(), which may count a sub and miss the add before it (use load_exact).
//
// Example     striped_counter requests;                       // examples/striped_counter.cpp
//             const auto serve = [&] { ++requests; };         // on any number of threads
//             reported += requests.exchange(0);               // each is in exactly one report

#include <atomic>
#include <cstdint>

#include "detail/gate.hpp"
#include "detail/stripes.hpp"

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

  // Effects: adds n (subtracts n), modulo 2^64.
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
  // Complexity: linear in the stripes.
  [[nodiscard]] std::int64_t load() const noexcept { return static_cast<std::int64_t>(sum()); }

  // Returns: the value at one moment during the call (linearizable).
  // Complexity: linear in the stripes; adds wait meanwhile.
  [[nodiscard]] std::int64_t load_exact() const noexcept {
    gate_.close();
    const std::uint64_t value = sum();
    gate_.open();
    return static_cast<std::int64_t>(value);
  }

  // Effects: at one moment during the call (linearizable), replaces the value by `desired`.
  // Returns: the value replaced. exchange(0) drains: each add is in exactly one drain.
  [[nodiscard("this is what was counted so far, and it is no longer in the counter")]]
  std::int64_t exchange(std::int64_t desired) noexcept {
    gate_.close();
    const std::uint64_t value = sum();
    // order: seq_cst [striped_counter.exchange] total order with [striped_counter.sum.base]: who counts the exchange reads stripes at least as new as it did
    base_.fetch_add(static_cast<std::uint64_t>(desired) - value, std::memory_order_seq_cst);
    gate_.open();
    return static_cast<std::int64_t>(value);
  }

private:
  void land(std::uint64_t n) noexcept;
  void spread(detail::stripe_block* crowded) noexcept;
  std::uint64_t sum() const noexcept;

  // The value is base_ plus every stripe of every block, modulo 2^64.
  //   base_    takes the adds until threads collide; later exchange() alone
  //   newest_  nullptr, or the newest and largest block, which takes the adds; leads to the older
  //            ones. Blocks are freed by the destructor only.
  //   gate_    passed by each add after it landed; closed while load_exact or exchange sums
  std::atomic<std::uint64_t> base_{0};
  std::atomic<detail::stripe_block*> newest_{nullptr};
  mutable detail::gate gate_;
};

// Starts as one word and spreads when threads collide, as Striped64 of java.util.concurrent by
// D. Lea does. It notices a collision by a failed compare-and-swap; here a plain read before the
// fetch_add tells the same, and the add itself never has to be repeated.
//
// Why load_exact and exchange are linearizable. Call one of them R; it closes the gate, reads
// every stripe once, and opens. Order R before exactly those adds that its reads missed.
//   (1) An add A that R missed does not return before R opened the gate. R's read of A's stripe
//       (or of newest_, if A's block is younger than that read) precedes A's fetch_add in the
//       total order of seq_cst operations; R's close() precedes the read, and A's pass() follows
//       the fetch_add. So A's pass() sees this closing, and waits, or a later state of the gate.
//   (2) So if R missed A, and B began after A returned, R missed B as well: B began after R had
//       opened the gate. Hence the order above extends the real-time order of the adds. Two calls
//       R are ordered by the gate, and by coherence the second counts what the first did.
// An add that R counted may wait at the gate too; it has taken effect at its fetch_add. An
// exchange is one more addition, of (desired - value), at a moment when nobody gets through.
//
// A load() reads base_ first: one that counts an exchange thereby reads all that the exchange
// took out, and never subtracts what it did not count.
//
// The tempting wrong ways: sum and then set every stripe to zero (loses what lands in between);
// exchange each stripe for zero (loses nothing, but the value returned never existed).

inline void striped_counter::land(std::uint64_t n) noexcept {
  // order: seq_cst [striped_counter.land.newest] total order with [striped_counter.spread]: the block is initialised; and an add to a block that a sum did not see comes after that sum's look
  detail::stripe_block* const block = newest_.load(std::memory_order_seq_cst);
  std::atomic<std::uint64_t>& tally = block == nullptr ? base_ : block->of_this_thread().tally;
  // order: relaxed: compared below to notice a collision, never counted with
  const std::uint64_t before = tally.load(std::memory_order_relaxed);
  // order: seq_cst [striped_counter.land] total order with [striped_counter.sum.base], [striped_counter.sum.stripe]: a sum that misses this add has closed the gate before it is passed
  const bool collided = tally.fetch_add(n, std::memory_order_seq_cst) != before;
  gate_.pass();
  if (collided) [[unlikely]] {
    spread(block);
  }
}

// A thread that collides tries another stripe first, and makes a larger block if it collides again.
[[gnu::noinline]] inline void striped_counter::spread(detail::stripe_block* crowded) noexcept {
  const std::size_t stripes = crowded == nullptr ? 1 : crowded->size();
  auto& place = detail::stripe_place::of_this_thread();
  if (crowded != nullptr && (!place.moved || stripes >= detail::most_stripes())) {
    place.move();
    return;
  }
  place.moved = false;
  detail::stripe_block* const larger = detail::stripe_block::make(2 * stripes, crowded);
  if (larger == nullptr) return;  // slower, not wrong
  // order: seq_cst/relaxed [striped_counter.spread] total order with [striped_counter.sum.newest], [striped_counter.land.newest]: publishes the block; a sum that misses it precedes every add to it
  if (!newest_.compare_exchange_strong(crowded, larger, std::memory_order_seq_cst,
                                       std::memory_order_relaxed)) {
    detail::stripe_block::destroy(larger);
  }
}

inline std::uint64_t striped_counter::sum() const noexcept {
  // order: seq_cst [striped_counter.sum.base] total order with [striped_counter.land], [striped_counter.exchange]: see the proof; and base_ is read before the stripes
  std::uint64_t total = base_.load(std::memory_order_seq_cst);
  // order: seq_cst [striped_counter.sum.newest] total order with [striped_counter.spread]: see the proof
  detail::stripe_block* block = newest_.load(std::memory_order_seq_cst);
  for (; block != nullptr; block = block->older()) {
    for (detail::stripe& stripe : *block) {
      // order: seq_cst [striped_counter.sum.stripe] total order with [striped_counter.land]: see the proof
      total += stripe.tally.load(std::memory_order_seq_cst);
    }
  }
  return total;
}

inline striped_counter::~striped_counter() {
  // order: relaxed: every call has returned
  detail::stripe_block* block = newest_.load(std::memory_order_relaxed);
  while (block != nullptr) {
    detail::stripe_block* const older = block->older();
    detail::stripe_block::destroy(block);
    block = older;
  }
}

}  // namespace interlock
