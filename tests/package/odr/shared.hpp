// SPDX-License-Identifier: BSL-1.0
#pragma once

// One inline function with a restartable sequence in it, in both files: the linker keeps one.
#include <interlock/interlock.hpp>

#include <interlock/detail/restartable.hpp>

#include <cstdint>
#include <vector>

// Returns: how many of `times` adds landed in a slot, or -1 if another number is in the slots.
template <class Word>
std::int64_t landed(int times) {
  namespace il = interlock::detail;
  const unsigned rows = il::restartable::available() ? il::restartable::rows() : 0;
  std::vector<il::stripe_slot> slots((rows + 1) * il::row_bytes / sizeof(il::stripe_slot));
  const Word state{rows > 0 ? il::state_of(slots.data()) : il::no_slots};
  std::int64_t count = 0;
  for (int i = 0; i < times; ++i) count += il::restartable::add(state, 1) ? 1 : 0;
  std::uint64_t sum = 0;
  for (const il::stripe_slot& slot : slots) sum += slot.load();
  const bool possible = rows > 0 || count == 0;
  return possible && sum == static_cast<std::uint64_t>(count) ? count : -1;
}

inline bool sequences_work() {
  const std::int64_t count = landed<std::atomic<std::uint64_t>>(1'000);
  return interlock::detail::restartable::available() ? count > 900 : count == 0;
}
