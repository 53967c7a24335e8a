// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/stripe_state.hpp - the word that says where a striped object's slots are.
//
//   bits 47..0    the address of the object's slot in row 0; 0: it has no slots, and everything
//                 goes to its base word
//   bits 63..48   minus the freezers, the calls under way during which no slot may change;
//                 without slots 2^14 less than that
//
// So the word is positive as a signed number exactly if slots may be touched, and it is the
// address then: one comparison and no shift in the hot path.
//
// A slot is one word. A row holds a slot of each of many objects and belongs to one processor (or,
// in the portable form, to some threads), so objects that nobody shares lines with share lines
// with each other. A column is the slots of one object: one in each row, row_bytes apart.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace interlock::detail {

inline constexpr std::size_t row_bytes = 512;
inline constexpr std::uint64_t address_mask = (std::uint64_t{1} << 48) - 1;
inline constexpr std::uint64_t one_freezer = ~address_mask;   // -2^48: to be added
inline constexpr std::uint64_t no_slots = one_freezer << 14;  // -2^62: where a word starts
inline constexpr std::uint64_t most_freezers = (1U << 14) - 1;

using stripe_slot = std::atomic<std::uint64_t>;
static_assert(sizeof(stripe_slot) == 8 && row_bytes % (2 * 64) == 0,
              "slots are found by their address, and rows share no pair of cache lines");

constexpr bool has_slots(std::uint64_t state) noexcept {
  return (state & address_mask) != 0;
}
// Returns: whether it has slots and no freezers.
constexpr bool slots_open(std::uint64_t state) noexcept {
  return static_cast<std::int64_t>(state) > 0;
}
constexpr std::uint64_t freezers(std::uint64_t state) noexcept {
  const std::uint64_t of_none = has_slots(state) ? 0 : no_slots;
  return (of_none - (state & ~address_mask)) >> 48;
}

// Returns: the state word of an object with this column and no freezers; no_slots if the address
//          does not fit (a tagged pointer may not).
inline std::uint64_t state_of(const stripe_slot* column) noexcept {
  const auto address = std::uint64_t{reinterpret_cast<std::uintptr_t>(column)};
  return address <= address_mask ? address : no_slots;
}

// Returns: the word with the freezers of `state`, which has no slots, and with the slots of
//          `fresh`, which state_of() gave.
constexpr std::uint64_t with_slots(std::uint64_t state, std::uint64_t fresh) noexcept {
  return fresh + (state - no_slots);
}

// Preconditions: has_slots(state); row < the rows of a column.
inline stripe_slot& slot_of(std::uint64_t state, std::size_t row) noexcept {
  const std::uint64_t address = (state & address_mask) + row * row_bytes;
  return *reinterpret_cast<stripe_slot*>(static_cast<std::uintptr_t>(address));
}

}  // namespace interlock::detail
