// SPDX-License-Identifier: BSL-1.0
#pragma once

// A single-threaded event loop, as small as one can be: what runs on it runs alone until its next
// co_await, and then somebody else's turn may come.

#include <coroutine>
#include <deque>
#include <exception>

#include "support.hpp"

namespace lab {

class event_loop {
public:
  // A request handler. It starts when it is called and owns itself: its frame ends with it.
  struct handler {
    struct promise_type {
      handler get_return_object() noexcept { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      void unhandled_exception() noexcept { std::terminate(); }
    };
  };

  // Awaitable: a call to a store. The loop resumes the handler some turns later.
  struct call {
    event_loop* loop;
    std::int64_t turns;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> who) const {
      loop->waiting_.push_back({turns, who});
    }
    void await_resume() const noexcept {}
  };

  // Returns: an awaitable that takes between one turn and `longest`.
  [[nodiscard]] call travel(dice& chance, std::int64_t longest = 4) {
    return {this, chance.roll(1, longest)};
  }

  // Effects: takes turns until no handler waits.
  void run() {
    while (!waiting_.empty()) {
      auto [turns, who] = waiting_.front();
      waiting_.pop_front();
      if (turns > 1) {
        waiting_.push_back({turns - 1, who});
      } else {
        who.resume();
      }
    }
  }

private:
  struct timer {
    std::int64_t turns;
    std::coroutine_handle<> who;
  };
  std::deque<timer> waiting_;
};

}  // namespace lab
