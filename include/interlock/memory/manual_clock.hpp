// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/manual_clock.hpp - time for an engine in memory that goes on when it is told to.
//
// Problem     A test of leases that waits for real ones is slow, and fails on a busy machine.
// Guarantee   A manual clock goes on when it is told to and never otherwise.
//             Leases of a client with a manual clock end by that clock.
// Outcomes    none: it is no operation of an engine.
// Durability  none.
// Progress    A lock for a few instructions. Threads that wait for it look every millisecond.
// Cost        A lock each.
// Lifetime    Shared by the clients that were given it.
// Not for     Programs at work.
//
// Example     // examples/engines/memory_client.cpp
//             const auto time = std::make_shared<memory::manual_clock>();
//             memory::client engine({}, {.clock = time});
//             time->advance(10s);

#include <chrono>
#include <mutex>

#include "../store/boot_clock.hpp"
#include "../store/detail/local_clock.hpp"

namespace interlock::memory {

class manual_clock : public store::detail::local_clock {
public:
  using time_point = store::boot_clock::time_point;

  // An hour after the start, so that something may lie before it.
  explicit manual_clock(time_point now = time_point(std::chrono::hours(1))) : now_(now) {}

  [[nodiscard]] time_point now() const override {
    const std::lock_guard lock(guard_);
    return now_;
  }
  // Preconditions: by >= 0.
  void advance(std::chrono::nanoseconds by) {
    const std::lock_guard lock(guard_);
    now_ += by;
  }
  // Returns: a millisecond of real time, after which the thread looks again.
  [[nodiscard]] std::chrono::nanoseconds nap(std::chrono::nanoseconds) const override {
    return std::chrono::milliseconds(1);
  }

private:
  mutable std::mutex guard_;
  time_point now_;
};

}  // namespace interlock::memory
