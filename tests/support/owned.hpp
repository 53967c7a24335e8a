// SPDX-License-Identifier: BSL-1.0
#pragma once

// A coroutine that runs at once and is destroyed by whoever has its handle, suspended or ended.

#include <coroutine>
#include <exception>

namespace support {

struct owned {
  struct promise_type {
    owned get_return_object() noexcept {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

}  // namespace support
