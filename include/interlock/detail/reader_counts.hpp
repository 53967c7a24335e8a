// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/reader_counts.hpp - a count that readers add to, without a read-modify-write.
//
// Each of the first readers has a place of its own by the number of its record (readers.hpp), where
// only its thread stores: a load and a store of a line that it has. All others share, by fetch_add,
// the second word of these places.

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "readers.hpp"

namespace interlock::detail {

class reader_counts {
public:
  reader_counts() : count_(std::max(usual, 16U)), places_(new place[count_]) {}

  // Effects: adds 1. Preconditions: the record is this thread's.
  [[gnu::always_inline]] void add(const reader& self) noexcept {
    if (self.number >= count_) [[unlikely]] return share(self.number);
    std::atomic<std::uint64_t>& mine = places_[self.number].own;
    // order: relaxed: this thread's own; a record is handed on under a lock
    const std::uint64_t before = mine.load(std::memory_order_relaxed);
    // order: relaxed: a count
    mine.store(before + 1, std::memory_order_relaxed);
  }
  // The same for a thread that may have no record.
  void add_anywhere() noexcept {
    const reader* const self = readers::here();
    self != nullptr ? add(*self) : share(0);
  }

  std::uint64_t load() const noexcept {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      // order: relaxed: a count
      total += places_[i].own.load(std::memory_order_relaxed);
      // order: relaxed: as above
      total += places_[i].shared.load(std::memory_order_relaxed);
    }
    return total;
  }

private:
  struct alignas(64) place {
    std::atomic<std::uint64_t> own{0};
    std::atomic<std::uint64_t> shared{0};
  };

  [[gnu::noinline]] void share(std::uint32_t any) noexcept {
    // order: relaxed: a count
    places_[any & (count_ - 1)].shared.fetch_add(1, std::memory_order_relaxed);
  }

  // Four for each processor: programs have more threads than that, and one without a place pays as
  // much for its count as for all else of a hit. Asked before main: models begin with all that is
  // asked once.
  inline static const std::uint32_t usual =
      4 * std::bit_ceil(std::clamp(std::thread::hardware_concurrency(), 4U, 128U));

  const std::uint32_t count_;  // a power of two
  const std::unique_ptr<place[]> places_;
};

}  // namespace interlock::detail
