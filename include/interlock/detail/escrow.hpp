// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/escrow.hpp - units that a processor may give out without asking anybody.
//
// A slot of a striped_bounded_counter is one word of two numbers:
//   bits 63..32   the share: how much may be subtracted here
//   bits 31..0    the room: how much may be added here
// A request that fits moves its amount from one half to the other, so share + room stays what was
// lent. All that is lent at a time is less than 2^32: no half overflows, nor does a sum of slots.
//
// Two forms, of which a process uses one (restartable.hpp). Where sequences can be restarted, a
// request is one of them, and who takes everything back freezes the object, then interrupts.
//
// The portable form needs neither, as who takes everything back exchanges each slot for an empty
// one. A compare-and-swap that looked before and comes after fails on the empty slot; should the
// slot hold the same again by then, it was lent again, and the request fits after all.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "restartable.hpp"
#include "restartable_twin.hpp"
#include "stripe_state.hpp"

namespace interlock::detail::escrow {

// The half of a slot that a request draws on, as the place of its lowest bit.
enum class way : unsigned { up = 0, down = 32 };

inline constexpr std::uint64_t most = 0xFFFF'FFFF;

constexpr way opposite(way to) noexcept { return to == way::up ? way::down : way::up; }
constexpr std::uint64_t units(way to, std::uint64_t n) noexcept {
  return n << static_cast<unsigned>(to);
}
constexpr std::uint64_t held(way to, std::uint64_t slot) noexcept {
  return slot >> static_cast<unsigned>(to) & most;
}

// The portable form of restartable::take (down) and put (up).
// Returns: whether this thread's slot had as much; else nothing was done.
inline bool trade(const std::atomic<std::uint64_t>& state, way to, std::uint64_t n) noexcept {
  // order: acquire [escrow.trade.column] pairs with [striped_bounded.spread], [escrow.thaw]: the slots are zeros
  const std::uint64_t column = state.load(std::memory_order_acquire);
  if (!has_slots(column)) return false;
  auto& place = stripe_place::of_this_thread();
  stripe_slot& here = slot_of(column, place.index & (restartable::rows() - 1));
  // order: relaxed: a guess, the compare_exchange tells; a refusal here is decided elsewhere
  std::uint64_t seen = here.load(std::memory_order_relaxed);
  for (bool alone = true;; alone = false) {
    if (held(to, seen) < n) return false;
    const std::uint64_t changed = seen - units(to, n) + units(opposite(to), n);
    // order: acq_rel/relaxed [escrow.trade] pairs with [escrow.trade], [escrow.lend], [escrow.take_back]: hands on what was done before the units were put there
    if (here.compare_exchange_weak(seen, changed, std::memory_order_acq_rel,
                                   std::memory_order_relaxed)) {
      if (!alone) place.move();
      return true;
    }
  }
}

// Effects: adds n units for requests that go `to` to the slot of the caller.
// Returns: whether it did; not if there are no slots or the thread cannot reach its own.
// Preconditions: as much was not lent already that the sum would exceed `most`; nobody takes back.
inline bool lend(const std::atomic<std::uint64_t>& state, way to, std::uint64_t n) noexcept {
  if (restartable::available()) return restartable::add(state, units(to, n));
  // order: relaxed: the caller's lock orders it
  const std::uint64_t column = state.load(std::memory_order_relaxed);
  if (!has_slots(column)) return false;
  const std::size_t row = stripe_place::of_this_thread().index & (restartable::rows() - 1);
  stripe_slot& here = slot_of(column, row);
  // order: release [escrow.lend] pairs with [escrow.trade]: hands on what was done before the units came to the pool
  here.fetch_add(units(to, n), std::memory_order_release);
  return true;
}

// Effects: empties all slots, if there are any. A request that misses this comes before it.
// Returns: the sum of the slots: shares and rooms.
// Preconditions: one call at a time, and nobody lends.
inline std::uint64_t take_back(std::atomic<std::uint64_t>& state) noexcept {
  // order: relaxed: the caller's lock orders it
  const std::uint64_t column = state.load(std::memory_order_relaxed);
  std::uint64_t sum = 0;
  if (!has_slots(column)) return sum;
  const bool restarts = restartable::available();
  if (restarts) {
    // order: relaxed: the interrupt is a barrier for all; a sequence that begins after it sees this
    state.fetch_add(one_freezer, std::memory_order_relaxed);
    restartable::interrupt();
  }
  for (std::size_t row = 0; row < restartable::rows(); ++row) {
    // order: acquire [escrow.take_back] pairs with [escrow.trade]: hands on what was done before the units were put there
    sum += slot_of(column, row).exchange(0, std::memory_order_acquire);
  }
  if (restarts) {
    // order: release [escrow.thaw] pairs with [escrow.trade.column]: in its place, what a sequence loads: who finds no mark finds the slots empty
    state.fetch_sub(one_freezer, std::memory_order_release);
  }
  return sum;
}

// Returns: the sum of the shares, each at another moment.
inline std::uint64_t shares_approx(const std::atomic<std::uint64_t>& state) noexcept {
  // order: acquire [escrow.shares.column] pairs with [striped_bounded.spread]: the slots are zeros
  const std::uint64_t slots = state.load(std::memory_order_acquire);
  std::uint64_t sum = 0;
  if (!has_slots(slots)) return sum;
  for (std::size_t row = 0; row < restartable::rows(); ++row) {
    // order: relaxed: no decision is made on it
    sum += held(way::down, slot_of(slots, row).load(std::memory_order_relaxed));
  }
  return sum;
}

}  // namespace interlock::detail::escrow
