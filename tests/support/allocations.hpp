// SPDX-License-Identifier: BSL-1.0
#pragma once

// Counts calls of operator new and the bytes asked for, and lets memory end in the middle of a
// call, on one thread. Include it in one source file of a program: it replaces the global
// operators. Not under a sanitizer, which has its own: the count stays 0 there, and memory never
// ends.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "threads.hpp"

namespace support {

inline std::atomic<std::size_t> allocation_count{0};
inline std::atomic<std::size_t> allocation_bytes{0};

// Returns: how many allocations there have been in this program so far.
inline std::size_t allocations() { return allocation_count.load(std::memory_order_relaxed); }

// Returns: how many bytes they asked for.
inline std::size_t allocated_bytes() { return allocation_bytes.load(std::memory_order_relaxed); }

inline constexpr bool counts_allocations = !sanitized;

inline constexpr long no_limit = -1;
inline thread_local long allocations_left = no_limit;

// Effects: runs f with so many allocations, then with as many as it likes.
// Returns: whether they were too few.
template <class F>
bool fails_with(long allocations, F f) {
  allocations_left = allocations;
  try {
    f();
  } catch (const std::bad_alloc&) {
    allocations_left = no_limit;
    return true;
  }
  allocations_left = no_limit;
  return false;
}

}  // namespace support

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SUPPORT_KEEP_OPERATOR_NEW
#endif
#endif
#if !defined(SUPPORT_KEEP_OPERATOR_NEW) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
// Out of line: GCC 12 takes the inlined malloc or free for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (support::allocations_left == 0) throw std::bad_alloc();
  if (support::allocations_left > 0) --support::allocations_left;
  support::allocation_count.fetch_add(1, std::memory_order_relaxed);
  support::allocation_bytes.fetch_add(size, std::memory_order_relaxed);
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
  support::allocation_count.fetch_add(1, std::memory_order_relaxed);
  support::allocation_bytes.fetch_add(size, std::memory_order_relaxed);
  const auto to = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(to, (size + to - 1) / to * to);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif
#undef SUPPORT_KEEP_OPERATOR_NEW
