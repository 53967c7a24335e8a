// SPDX-License-Identifier: BSL-1.0
#pragma once

// A coroutine of a foreign kind: runs at once, frees itself, belongs to no framework.

#include <coroutine>
#include <exception>

namespace support {

struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

}  // namespace support
