// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/processor.hpp - two things that C++ has no portable words for.

#include <atomic>

namespace interlock::detail {

// Effects: asks for the cache line of `what` to be brought here for writing. A load of it that is
// followed by a compare_exchange would move the line twice when it is another core's: once to be
// shared, and once more to be owned.
inline void about_to_write(const void* what) noexcept {
#if defined(__x86_64__)
  // The compiler's own prefetch is one for reading unless it may use this instruction, which every
  // x86-64 processor takes, if only as one that does nothing.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(what)));
#else
  __builtin_prefetch(what, 1);
#endif
}

// Effects: everything that this thread stored is visible before anything that it loads from now on.
// For several plain stores at once, where each as a seq_cst store would cost as much as the fence.
inline void full_fence() noexcept {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"  // no happens-before rests on it, so no report is missed
#endif
  // order: seq_cst [processor.fence] total order with [processor.fence]: and with the seq_cst accesses of cells: who does not see the stores before it comes before it, and is seen by the loads behind it
  std::atomic_thread_fence(std::memory_order_seq_cst);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

}  // namespace interlock::detail
