// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/process_generation.hpp - in how many forks this process is a child.

#include <atomic>

#include "../../detail/after_fork.hpp"

namespace interlock::store::detail {

inline std::atomic<unsigned> generations{0};

// Returns: another number in a child of fork() than in its parent, if it was called there before.
[[nodiscard]] inline unsigned process_generation() noexcept {
  static const bool counted = [] {
    interlock::detail::after_fork([] {
      // order: relaxed: the child has one thread
      generations.fetch_add(1, std::memory_order_relaxed);
    });
    return true;
  }();
  static_cast<void>(counted);
  // order: relaxed: changes in a child alone, before anything else runs there
  return generations.load(std::memory_order_relaxed);
}

}  // namespace interlock::store::detail
