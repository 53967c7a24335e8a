// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/membarrier_linux.hpp - the heavy half is the system call membarrier(2).
// Included by membarrier.hpp only.

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "misuse.hpp"
#include "processor.hpp"

extern "C" void __tsan_init() __attribute__((weak));  // of a sanitizer that other objects may have

namespace interlock::detail {

// linux/membarrier.h names these from 4.14 on.
inline constexpr long membarrier_private = 1L << 3;
inline constexpr long membarrier_register_private = 1L << 4;

inline bool may_bar() noexcept {
  return ::syscall(SYS_membarrier, membarrier_register_private, 0, 0) == 0;
}
// Decided before main(): the kernel answers at once while the process has one thread. Zero before
// that, which is the form that always works.
inline const bool one_side_pays = __tsan_init == nullptr && may_bar();

inline void light_fence() noexcept {
  if (one_side_pays) [[likely]] {
    asm volatile("" ::: "memory");
  } else {
    full_fence();
  }
}

inline void heavy_fence() noexcept {
  full_fence();
  // Also if it was decided against, for code that ran before the decision of another object.
  for (int refusals = 0; one_side_pays && ::syscall(SYS_membarrier, membarrier_private, 0, 0) != 0;) {
    // Out of memory passes. A process that was restored from a checkpoint has to ask again.
    if (errno != ENOMEM && (++refusals > 1 || !may_bar())) {
      misuse("membarrier was taken away after first use; let the filter of system calls pass it");
    }
    ::sched_yield();
  }
}

}  // namespace interlock::detail
