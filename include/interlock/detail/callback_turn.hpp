// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/callback_turn.hpp - one thread calls callbacks, one at a time, without a lock,
// and their owners want to be rid of them meanwhile.
//
// Everything here is under the lock of whoever keeps the callbacks: it takes one off its list and
// calls begin(), unlocks, calls it, locks, and calls end() before the next begin(). A destructor
// that finds its callback listed takes it off. Otherwise it asks must_wait(): it waits for a call
// that another thread is at, and not for one that this thread is at, which would be for itself.

#include <utility>

#include "waiter.hpp"

namespace interlock::detail {

class callback_turn {
public:
  void begin(const void* callback) noexcept {
    caller_ = this_thread();
    callback_ = callback;
  }

  // Returns: who waits for that; nullptr if nobody does. To be woken without the lock.
  [[nodiscard]] waiter* end() noexcept {
    callback_ = nullptr;
    return std::exchange(leaver_, nullptr);
  }

  // Returns: true if `self` has to wait: end() will give it out.
  [[nodiscard]] bool must_wait(const void* callback, waiter& self) noexcept {
    if (callback_ != callback || caller_ == this_thread()) return false;
    leaver_ = &self;
    return true;
  }

private:
  const void* caller_ = nullptr;    // the thread
  const void* callback_ = nullptr;  // that is being called; it may be gone
  waiter* leaver_ = nullptr;        // the thread that destroys it
};

}  // namespace interlock::detail
