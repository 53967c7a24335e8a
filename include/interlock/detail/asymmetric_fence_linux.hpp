// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/asymmetric_fence_linux.hpp - the asymmetric fence by membarrier(2).
// Included by asymmetric_fence.hpp only.

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "misuse.hpp"

namespace interlock::detail {

struct asymmetric_fence {
  static bool available() noexcept { return registered_early; }

  static void light() noexcept { asm volatile("" : : : "memory"); }

  static void heavy() noexcept {
    for (int refusals = 0; ::syscall(SYS_membarrier, private_expedited, 0, 0) != 0;) {
      // Out of memory passes. A process that was restored from a checkpoint has to ask again.
      if (errno != ENOMEM && (++refusals > 1 || !may_call())) {
        misuse("membarrier was taken away after first use; let the filter of system calls pass it");
      }
      ::sched_yield();
    }
  }

private:
  // linux/membarrier.h names these from 4.14 on.
  static constexpr long private_expedited = 1L << 3;
  static constexpr long register_private_expedited = 1L << 4;

  static bool may_call() noexcept {
    return ::syscall(SYS_membarrier, register_private_expedited, 0, 0) == 0;
  }
  // Before main: the kernel answers at once while the process has one thread.
  static inline const bool registered_early =
      may_call() && ::syscall(SYS_membarrier, private_expedited, 0, 0) == 0;
};

}  // namespace interlock::detail
