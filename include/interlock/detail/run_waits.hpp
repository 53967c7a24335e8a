// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/run_waits.hpp - finds runs that would wait for each other in a circle.
//
// A run knows the number of the thread that is inside it, and a thread that is inside a run and
// blocks for another one says for which. Whoever would close the circle finds it: of those who come
// to wait in it the last one sees all the others, because they take turns here. Threads that are
// inside no run are in no circle and do not come here. Coroutines have no number: a circle through
// one of them is not found.

#include <atomic>
#include <cstdint>
#include <mutex>

#include "futex_mutex.hpp"
#include "readers.hpp"

namespace interlock::detail {

class run_waits {
public:
  // While one lives, this thread is inside a run.
  class inside {
  public:
    inside() noexcept { ++depth; }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() { --depth; }
  };
  static bool is_inside() noexcept { return depth != 0; }

  // Effects: from now on this thread waits for the run, unless that closes a circle.
  // Preconditions: the run stays until end(). Returns: false if it closes a circle.
  [[nodiscard]] static bool begin(reader& self, const std::atomic<std::uint32_t>& run) noexcept {
    const std::lock_guard lock(mutex);
    const std::atomic<std::uint32_t>* next = &run;
    while (next != nullptr) {
      // order: relaxed: a thread stores its number before it comes here, which the mutex orders
      const std::uint32_t number = next->load(std::memory_order_relaxed);
      if (number == self.number) return false;
      if (number == 0) break;
      next = readers::at(number).waits_for;
    }
    self.waits_for = &run;
    return true;
  }
  static void end(reader& self) noexcept {
    const std::lock_guard lock(mutex);
    self.waits_for = nullptr;
  }

private:
  inline static constinit futex_mutex mutex;
  inline static thread_local constinit unsigned depth = 0;
};

}  // namespace interlock::detail
