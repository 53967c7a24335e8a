// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/process_generation.hpp - in how many forks this process is a child, and a
// lock that fork() finds free.

#include <atomic>
#include <mutex>

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

namespace interlock::store::detail {

inline std::atomic<unsigned> generations{0};
// Held over each fork() once process_generation() was called: no thread that a child does not have
// has it there.
inline std::mutex process_guard;

// Returns: another number in a child of fork() than in its parent, if it was called there before.
//          The same for ever where there is no fork(), or was no memory to hear of it.
[[nodiscard]] inline unsigned process_generation() noexcept {
#if __has_include(<pthread.h>)
  static const bool counted = [] {
    const auto in_child = [] {
      // order: relaxed: the child has one thread
      generations.fetch_add(1, std::memory_order_relaxed);
      process_guard.unlock();
    };
    return ::pthread_atfork([] { process_guard.lock(); }, [] { process_guard.unlock(); },
                            in_child) == 0;
  }();
  static_cast<void>(counted);
#endif
  // order: relaxed: changes in a child alone, before anything else runs there
  return generations.load(std::memory_order_relaxed);
}

}  // namespace interlock::store::detail
