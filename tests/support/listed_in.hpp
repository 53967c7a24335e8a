// SPDX-License-Identifier: BSL-1.0
#pragma once

// An awaiter that lists its coroutine in a wait_list at a height, whatever the height is now.

#include <interlock/detail/wait_list.hpp>

#include <coroutine>

namespace support {

class listed_in : interlock::detail::coroutine_place<int> {
public:
  listed_in(interlock::detail::wait_list<int>& list, int height)
      : coroutine_place(height, &coroutine_waiter::resume_soon), list_(list) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    continuation = self;
    return suspend_in(list_, [] { return true; });
  }
  void await_resume() noexcept { suspended = false; }

private:
  interlock::detail::wait_list<int>& list_;
};

}  // namespace support
