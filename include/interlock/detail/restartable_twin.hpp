// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/restartable_twin.hpp - the contract of restartable.hpp in portable C++.
//
// Used where there are no restartable sequences, and wherever a tool has to see each access: under
// a sanitizer, and in the explorer, which proves the protocol that the two forms share. A process
// uses one form for all objects, as restartable::available() says.
//
// A slot of this form holds two numbers:
//   bits 63..40   interrupts: how often a freezer has passed, modulo 2^24
//   bits 39..0    the tally, signed; what would not fit goes to the object's base word
//
// An add looks at the slot, then at the state, then changes the slot if nobody else has since. A
// freezer marks the state, then interrupts each slot. An add that looked at its slot before the
// interrupt fails; one that looked after it sees the mark, or all that the freezer did.
//
// The tempting wrong way: no interrupts, as the freezer's read tells it the tally anyway. An add
// that looked at the state before the mark then lands after the read.
//
// An add held up for exactly a multiple of 2^24 freezes that lands in the last of them makes one
// load_exact miss it; nothing is lost then either.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "restartable.hpp"
#include "stripe_state.hpp"

namespace interlock::detail {

// Where this thread counts, in every striped object. A guess at "nobody else is here": it starts as
// row 0, and a thread that meets another moves elsewhere. Nothing but speed depends on it.
struct stripe_place {
  std::uint32_t index = 0;

  void move() noexcept {
    // Another thread's place is at another address, so threads that leave together part ways.
    const auto salt = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(this));
    index = static_cast<std::uint32_t>(((index + salt) * 0x9E3779B97F4A7C15U) >> 32U);
  }

  static stripe_place& of_this_thread() noexcept {
    thread_local stripe_place place;
    return place;
  }
};

namespace restartable_twin {

inline constexpr unsigned tally_bits = 40;
inline constexpr std::uint64_t one_interrupt = std::uint64_t{1} << tally_bits;
inline constexpr std::uint64_t tally_mask = one_interrupt - 1;
inline constexpr std::int64_t most = (std::int64_t{1} << (tally_bits - 1)) - 1;

constexpr std::int64_t tally(std::uint64_t bits) noexcept {
  return static_cast<std::int64_t>(bits << (64 - tally_bits)) >> (64 - tally_bits);
}

// Effects: adds n to a slot of the column that `state` names.
// Returns: whether it did; not if there is no column, if it is frozen, if another thread changed
//          the slot at the same time, or if the sum does not fit.
inline bool add(const std::atomic<std::uint64_t>& state, std::uint64_t n) noexcept {
  // order: acquire [twin.add.column] pairs with [striped_counter.spread]: the slots are zeros
  const std::uint64_t column = state.load(std::memory_order_acquire);
  if (!has_slots(column)) return false;
  auto& place = stripe_place::of_this_thread();
  stripe_slot& slot = slot_of(column, place.index & (restartable::rows() - 1));
  // order: acquire [twin.add.slot] pairs with [twin.interrupt]: an add after the interrupt sees the mark
  std::uint64_t seen = slot.load(std::memory_order_acquire);
  // order: acquire [twin.add.state] pairs with [striped_counter.thaw]: an add after a freeze comes after all that was done meanwhile
  if (!slots_open(state.load(std::memory_order_acquire))) return false;
  const auto amount = static_cast<std::int64_t>(n);
  if (amount < -most || amount > most) return false;
  const std::int64_t sum = tally(seen) + amount;
  if (sum < -most || sum > most) return false;
  const std::uint64_t changed =
      (seen & ~tally_mask) | (static_cast<std::uint64_t>(sum) & tally_mask);
  // order: release/relaxed [twin.add] pairs with [twin.interrupt], [striped_counter.load.slot], [striped_counter.freeze.slot]: what was done before the add is seen by who counts it
  if (slot.compare_exchange_strong(seen, changed, std::memory_order_release,
                                   std::memory_order_relaxed)) {
    return true;
  }
  place.move();
  return false;
}

// Effects: makes every add fail that has looked at this slot and not yet changed it.
// Returns: the tally.
// Preconditions: the object is marked as frozen.
inline std::int64_t interrupt(stripe_slot& slot) noexcept {
  // order: acq_rel [twin.interrupt] pairs with [twin.add], [twin.add.slot]: counts what landed, shows the mark to what did not
  const std::uint64_t seen = slot.fetch_add(one_interrupt, std::memory_order_acq_rel);
  return tally(seen);
}

}  // namespace restartable_twin
}  // namespace interlock::detail
