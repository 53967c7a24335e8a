// SPDX-License-Identifier: BSL-1.0
#pragma once

// A coroutine that runs at once and is destroyed by whoever has its handle, suspended or ended.

#include <coroutine>
#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

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

// Effects: starts so many coroutines that suspend, a few at a time, and destroys them meanwhile,
//          neither first nor last first.
template <class Start>
void start_and_destroy(std::size_t count, Start start) {
  std::vector<owned> waiting;
  for (std::size_t i = 0; i < count; ++i) {
    waiting.push_back(start());
    if (waiting.size() < 4) continue;
    std::swap(waiting[i % 4], waiting.back());
    waiting.back().handle.destroy();
    waiting.pop_back();
  }
  for (const owned& rest : waiting) rest.handle.destroy();
}

}  // namespace support
