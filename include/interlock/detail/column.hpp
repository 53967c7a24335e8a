// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/column.hpp - where striped objects get their slots from.
//
// Slots are allocated 64 columns at a time, as a slab: a row for each processor, in each row a
// slot of each column. So an object pays 8 bytes for each processor, and what one processor writes
// for eight objects is one cache line, which it shares with nobody.
//
// A slab is kept for the next objects and never freed, as its memory may be needed by objects of
// static storage that end after everything else. For the same reason the pool has no destructor.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "stripe_state.hpp"

namespace interlock::detail {

class column_pool {
public:
  constexpr column_pool() noexcept = default;
  column_pool(const column_pool&) = delete;
  column_pool& operator=(const column_pool&) = delete;

  // Returns: the slot in row 0 of a column of zeros, or nullptr if there is no memory.
  // Preconditions: `rows` is the same in all calls.
  // Complexity: linear in the slabs that are newer than the newest with a free column: none of
  //             them if columns are only taken, and all of them once in 64 times.
  stripe_slot* take(std::size_t rows) noexcept;

  // Effects: hands the column on to whoever takes one next.
  // Preconditions: take(rows) of any pool returned it, and nobody uses it any more.
  static void give_back(stripe_slot* column, std::size_t rows) noexcept;

  // For tests that begin anew: nobody has a column, and there is a slab.
  void start_anew(std::size_t rows) noexcept {
    // order: relaxed: there is one thread
    std::byte* slab = newest_.load(std::memory_order_relaxed);
    if (slab == nullptr) {
      slab = make_slab(rows);
      // order: relaxed: as above
      newest_.store(slab, std::memory_order_relaxed);
    }
    // order: relaxed: as above
    tail_of(slab, rows).vacant.store(all, std::memory_order_relaxed);
  }

private:
  static constexpr std::size_t columns = row_bytes / sizeof(stripe_slot);
  static constexpr std::uint64_t all = ~std::uint64_t{0};
  static_assert(columns == 64, "the free columns of a slab are the bits of one word");

  // What follows the rows of a slab. A slab is known by its first byte, so that tools which look
  // for lost memory find it; give_back() finds it by the address of a column.
  struct tail {
    std::atomic<std::uint64_t> vacant;  // a bit for each column
    std::byte* older;  // written before the slab is published
  };

  static tail& tail_of(std::byte* slab, std::size_t rows) noexcept {
    return *std::launder(reinterpret_cast<tail*>(slab + rows * row_bytes));
  }
  static stripe_slot* slot_in(std::byte* slab, std::size_t at) noexcept {
    return std::launder(reinterpret_cast<stripe_slot*>(slab)) + at;
  }

  static std::byte* make_slab(std::size_t rows) noexcept;
  static stripe_slot* take_from(std::byte* slab, std::size_t rows) noexcept;
  static stripe_slot* zeroed(stripe_slot* column, std::size_t rows) noexcept;

  std::atomic<std::byte*> newest_{nullptr};  // leads to all others
};

inline constinit column_pool the_columns;

inline stripe_slot* column_pool::take(std::size_t rows) noexcept {
  // order: acquire [column_pool.take] pairs with [column_pool.publish]: the slab is initialised
  std::byte* const newest = newest_.load(std::memory_order_acquire);
  for (std::byte* slab = newest; slab != nullptr; slab = tail_of(slab, rows).older) {
    if (stripe_slot* const column = take_from(slab, rows)) return zeroed(column, rows);
  }
  std::byte* const slab = make_slab(rows);
  if (slab == nullptr) return nullptr;
  stripe_slot* const column = take_from(slab, rows);
  std::byte* older = newest;
  do {
    tail_of(slab, rows).older = older;
    // order: release/relaxed [column_pool.publish] pairs with [column_pool.take]: the slab is initialised
  } while (!newest_.compare_exchange_weak(older, slab, std::memory_order_release,
                                          std::memory_order_relaxed));
  return zeroed(column, rows);
}

inline void column_pool::give_back(stripe_slot* column, std::size_t rows) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(column);
  const std::size_t offset = address % row_bytes;
  auto* const slab = reinterpret_cast<std::byte*>(column) - offset;
  // order: release [column_pool.give_back] pairs with [column_pool.take_from]: what was counted in the column is over
  tail_of(slab, rows).vacant.fetch_or(std::uint64_t{1} << (offset / sizeof(stripe_slot)),
                                    std::memory_order_release);
}

inline std::byte* column_pool::make_slab(std::size_t rows) noexcept {
  const std::size_t size = rows * row_bytes;
  void* const memory =
      ::operator new(size + sizeof(tail), std::align_val_t{row_bytes}, std::nothrow);
  if (memory == nullptr) return nullptr;
  auto* const slab = static_cast<std::byte*>(memory);
  for (std::size_t at = 0; at < rows * columns; ++at) {
    ::new (static_cast<void*>(slab + at * sizeof(stripe_slot))) stripe_slot{0};
  }
  ::new (static_cast<void*>(slab + size)) tail{all, nullptr};
  return slab;
}

// Returns: a column of the slab that nobody else has, or nullptr.
inline stripe_slot* column_pool::take_from(std::byte* slab, std::size_t rows) noexcept {
  tail& of_slab = tail_of(slab, rows);
  // order: relaxed: a guess, the compare_exchange tells
  std::uint64_t seen = of_slab.vacant.load(std::memory_order_relaxed);
  while (seen != 0) {
    // order: acquire/relaxed [column_pool.take_from] pairs with [column_pool.give_back]: what was counted in the column is over
    if (of_slab.vacant.compare_exchange_weak(seen, seen & (seen - 1), std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
      return slot_in(slab, static_cast<std::size_t>(std::countr_zero(seen)));
    }
  }
  return nullptr;
}

inline stripe_slot* column_pool::zeroed(stripe_slot* column, std::size_t rows) noexcept {
  const std::uint64_t state = state_of(column);
  if (!has_slots(state)) {
    give_back(column, rows);
    return nullptr;
  }
  for (std::size_t row = 0; row < rows; ++row) {
    // order: relaxed: the column is this thread's; whoever is shown it is shown the zeros
    slot_of(state, row).store(0, std::memory_order_relaxed);
  }
  return column;
}

}  // namespace interlock::detail
