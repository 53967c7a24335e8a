// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/run_waits.hpp - finds runs that would wait for each other in a circle.
//
// A run knows the number of the thread that is inside it, and a thread that is inside a run and
// blocks for another one says for which. Whoever would close the circle finds it: of those who come
// to wait in it the last one sees all the others, because they take turns here. Threads that are
// inside no run are in no circle and do not come here. Coroutines have no number: a circle through
// one of them is not found.
//
// What a thread waits for is the number of a run that somebody keeps alive until end(), or until
// goes_along(): whoever has the lock under which the run can change calls both begin() and that.
// Who leaves a run takes its number out of it before it wakes anybody.

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

  // A number with this bit is no thread's.
  static constexpr std::uint32_t nobody = std::uint32_t{1} << 31U;

  // Effects: from now on this thread waits for the run, unless that closes a circle.
  // Returns: false if it closes a circle.
  [[nodiscard]] static bool begin(reader& self, const std::atomic<std::uint32_t>& run) noexcept {
    const std::lock_guard lock(readers::waits_mutex());
    const std::atomic<std::uint32_t>* next = &run;
    while (next != nullptr) {
      // order: relaxed: a thread stores its number before it comes here, which the mutex orders
      const std::uint32_t number = next->load(std::memory_order_relaxed);
      if (number == self.number) return false;
      if (number == 0 || (number & nobody) != 0) break;
      next = readers::at(number).waits_for;
    }
    self.waits_for = &run;
    return true;
  }
  // Effects: one that waits waits for another run from now on.
  static void goes_along(reader& self, const std::atomic<std::uint32_t>& run) noexcept {
    const std::lock_guard lock(readers::waits_mutex());
    self.waits_for = &run;
  }
  static void end(reader& self) noexcept {
    const std::lock_guard lock(readers::waits_mutex());
    self.waits_for = nullptr;
  }

private:
  inline static thread_local constinit unsigned depth = 0;
};

}  // namespace interlock::detail
