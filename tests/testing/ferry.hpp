// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/ferry.hpp - takes a coroutine from one explored thread to another.

#include <interlock/detail/waiter.hpp>

#include <atomic>
#include <coroutine>

#include "testing/front.hpp"

// co_await ferry suspends until another thread calls carry(), and goes on there.
class ferry {
public:
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    node_.continuation = self;
    slot_.store(&node_, rel);
  }
  void await_resume() const noexcept {}

  // The passenger may end the ferry.
  void carry() noexcept {
    interlock::detail::waiter* passenger = nullptr;
    while ((passenger = slot_.load(acq)) == nullptr) testing::spin_hint();
    passenger->wake();
  }

private:
  interlock::detail::coroutine_waiter node_;
  std::atomic<interlock::detail::waiter*> slot_{nullptr};
};
