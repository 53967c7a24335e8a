// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/stripe_state.hpp - the word that says where a striped object's slots are.
//
//   bits 63..10   the address of the object's slot in row 0, divided by 8; 0: it has no slots,
//                 and everything goes to its base word
//   bits  9..0    freezers: calls under way during which no slot may change
//
// A slot is one word. A row holds a slot of each of many objects and belongs to one processor (or,
// in the portable form, to some threads), so objects that nobody shares lines with share lines
// with each other. A column is the slots of one object: one in each row, row_bytes apart.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace interlock::detail {

inline constexpr std::size_t row_bytes = 512;
inline constexpr unsigned column_shift = 10;
inline constexpr std::uint64_t one_freezer = 1;
inline constexpr std::uint64_t freezer_mask = (std::uint64_t{1} << column_shift) - 1;

using stripe_slot = std::atomic<std::uint64_t>;
static_assert(sizeof(stripe_slot) == 8 && row_bytes % (2 * 64) == 0,
              "slots are found by their address, and rows share no pair of cache lines");

constexpr bool has_slots(std::uint64_t state) noexcept { return state > freezer_mask; }
constexpr std::uint64_t freezers(std::uint64_t state) noexcept { return state & freezer_mask; }

// Returns: the state word of an object with this column and no freezers; 0 if the address does
//          not fit (no known user space has such addresses, but a tagged pointer may).
inline std::uint64_t state_of(const stripe_slot* column) noexcept {
  const auto address = std::uint64_t{reinterpret_cast<std::uintptr_t>(column)};
  const std::uint64_t state = (address >> 3) << column_shift;
  return (state >> column_shift) << 3 == address ? state : 0;
}

// Preconditions: has_slots(state); row < the rows of a column.
inline stripe_slot& slot_of(std::uint64_t state, std::size_t row) noexcept {
  const std::uint64_t address = ((state >> column_shift) << 3) + row * row_bytes;
  return *reinterpret_cast<stripe_slot*>(static_cast<std::uintptr_t>(address));
}

}  // namespace interlock::detail
