// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/run_waits.hpp - finds runs that would wait for each other in a circle.
//
// A thread knows the runs that it is inside. One that is inside a run and blocks for another one
// says for which, and shows where it is. Whoever would close the circle finds it: of those who
// come to wait in it the last one sees all the others, because they take turns here. Threads that
// are inside no run are in no circle and do not come here. Coroutines are nowhere: a circle through
// one of them is not found.
//
// Runs are known by their addresses. Somebody keeps a run alive until end(), or until goes_along():
// whoever has the lock under which the run can change calls both begin() and that. Who leaves a run
// says so before it wakes anybody.

#include <mutex>

#include "futex_mutex.hpp"
#include "readers.hpp"

namespace interlock::detail {

class run_waits {
public:
  // While one lives, this thread is inside a run, or about to enter one.
  class inside : run_mark {
  public:
    inside() noexcept : run_mark{nullptr, nullptr} {}
    explicit inside(const void* in) noexcept : inside() { enter(in); }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() {
      if (readers::inside_here() == this) readers::inside_here() = outer;
    }
    // What waits from now on shows it, so it outlives that wait.
    void enter(const void* in) noexcept {
      run = in;
      outer = readers::inside_here();
      readers::inside_here() = this;
    }
    // Effects: this thread is out of it, whatever still lives.
    void leave() noexcept { run = nullptr; }
  };
  static bool is_inside() noexcept { return readers::inside_here() != nullptr; }
  static bool is_inside(const void* run) noexcept { return is_in(readers::inside_here(), run); }

  // Effects: from now on this thread waits for the run, unless that closes a circle.
  // Returns: false if it closes a circle.
  [[nodiscard]] static bool begin(reader& self, const void* run) noexcept {
    const std::lock_guard lock(readers::waits_mutex());
    for (const void* next = run; next != nullptr; next = waited_for_in(next)) {
      if (is_inside(next)) return false;
    }
    self.waits_for = run;
    self.inside = readers::inside_here();
    return true;
  }
  // Effects: one that waits waits for another run from now on.
  static void goes_along(reader& self, const void* run) noexcept {
    const std::lock_guard lock(readers::waits_mutex());
    self.waits_for = run;
  }
  static void end(reader& self) noexcept {
    const std::lock_guard lock(readers::waits_mutex());
    self.waits_for = nullptr;
  }

private:
  static bool is_in(const run_mark* mark, const void* run) noexcept {
    while (mark != nullptr && mark->run != run) mark = mark->outer;
    return mark != nullptr;
  }
  // Returns: what the thread waits for that is inside the run; nullptr if it does not wait.
  static const void* waited_for_in(const void* run) noexcept {
    const void* found = nullptr;
    readers::for_each([&found, run](const reader& each) {
      if (each.waits_for != nullptr && is_in(each.inside, run)) found = each.waits_for;
    });
    return found;
  }
};

}  // namespace interlock::detail
