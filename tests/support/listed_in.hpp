// SPDX-License-Identifier: BSL-1.0
#pragma once

// An awaiter that lists its coroutine in a wait_list at a height, whatever the height is now.

#include <interlock/detail/wait_list.hpp>

#include <coroutine>

namespace support {

class listed_in {
public:
  listed_in(interlock::detail::wait_list<int>& list, int height) : list_(list), place_(height) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    return place_.suspend(self, list_, [] { return true; });
  }
  void await_resume() noexcept { place_.resumed(); }

private:
  interlock::detail::wait_list<int>& list_;
  interlock::detail::coroutine_place<int> place_;
};

}  // namespace support
