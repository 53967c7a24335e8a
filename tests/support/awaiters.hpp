// SPDX-License-Identifier: BSL-1.0
#pragma once

// What tests of coroutines await, and what counts the frames that are alive.

#include <coroutine>

namespace support {

struct ready_with {
  int value;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return value; }
};

// Suspends until somebody resumes the handle.
struct park_in {
  std::coroutine_handle<>& to;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const noexcept { to = self; }
  void await_resume() const noexcept {}
};

struct counted {
  explicit counted(int& n) : alive(n) { ++alive; }
  ~counted() { --alive; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  int& alive;
};

}  // namespace support
