// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/forked.hpp - in how many forks this process is a child: SQLite's handles
// must not be used, nor closed, in another process than the one that opened them.

#include <atomic>

#include "../../detail/after_fork.hpp"

namespace interlock::sqlite::detail {

inline std::atomic<unsigned> forks{0};

// Returns: another number in a child of fork() than in its parent.
[[nodiscard]] inline unsigned fork_generation() noexcept {
  static const bool counted = [] {
    interlock::detail::after_fork([] {
      // order: relaxed: the child has one thread
      forks.fetch_add(1, std::memory_order_relaxed);
    });
    return true;
  }();
  static_cast<void>(counted);
  // order: relaxed: changes in a child alone, before anything else runs there
  return forks.load(std::memory_order_relaxed);
}

}  // namespace interlock::sqlite::detail
