// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/stripes.hpp - tallies on cache lines of their own, and which one a thread uses.
//
// A thread's stripe is a guess at "nobody else is here": it starts as the first one, and a thread
// that meets another moves elsewhere. Nothing but speed depends on it: two threads may share a
// stripe, and a coroutine may go on with the place of the thread it came from.
//
// A block is never replaced, only joined by one twice its size: what was counted in it stays there.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <thread>

namespace interlock::detail {

// Not std::hardware_destructive_interference_size: that one varies with compiler flags.
inline constexpr std::size_t cache_line = 64;

struct alignas(cache_line) stripe {
  std::atomic<std::uint64_t> tally{0};
};

// Where this thread counts, in every striped object.
struct stripe_place {
  std::uint32_t index = 0;
  bool moved = false;  // since this thread last made a block

  void move() noexcept {
    // Another thread's place is at another address, so threads that leave together part ways.
    const auto salt = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(this));
    index = static_cast<std::uint32_t>(((index + salt) * 0x9E3779B97F4A7C15U) >> 32U);
    moved = true;
  }

  static stripe_place& of_this_thread() noexcept {
    thread_local stripe_place place;
    return place;
  }
};

// Twice the processors: room to part ways without searching for the last free stripe.
inline std::size_t most_stripes() noexcept {
  static const std::size_t most = [] {
    const std::size_t processors = std::thread::hardware_concurrency();  // 0: not known
    return 2 * std::bit_ceil(processors == 0 ? std::size_t{1} : processors);
  }();
  return most;
}

// A header line, followed in the same allocation by its stripes.
class alignas(cache_line) stripe_block {
public:
  // Returns: a block of `count` stripes, or nullptr if there is no memory.
  // Preconditions: count is a power of two.
  static stripe_block* make(std::size_t count, stripe_block* older) noexcept {
    void* const memory = ::operator new(sizeof(stripe_block) + count * sizeof(stripe),
                                        std::align_val_t{cache_line}, std::nothrow);
    return memory == nullptr ? nullptr : ::new (memory) stripe_block(count, older);
  }

  static void destroy(stripe_block* block) noexcept {
    ::operator delete(block, std::align_val_t{cache_line});
  }

  stripe_block* older() const noexcept { return older_; }
  std::size_t size() const noexcept { return mask_ + 1; }
  stripe* begin() const noexcept { return first_; }
  stripe* end() const noexcept { return first_ + size(); }

  stripe& of_this_thread() noexcept { return first_[stripe_place::of_this_thread().index & mask_]; }

private:
  stripe_block(std::size_t count, stripe_block* older) noexcept
      : first_(::new (static_cast<void*>(this + 1)) stripe{}), mask_(count - 1), older_(older) {
    for (std::size_t i = 1; i < count; ++i) ::new (static_cast<void*>(first_ + i)) stripe{};
  }

  stripe* const first_;
  const std::size_t mask_;
  stripe_block* const older_;
};

}  // namespace interlock::detail
