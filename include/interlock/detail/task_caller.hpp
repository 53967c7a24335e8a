// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/task_caller.hpp - who waits for a task to end: a coroutine or a thread.

#include <coroutine>
#include <type_traits>

#include "waiter.hpp"

namespace interlock::detail {

class task_promise_base;

// Who waits for a task to end.
struct who_waits {
  const void* frame = nullptr;              // of a coroutine,
  const task_promise_base* task = nullptr;  // which may be a task, too
  const void* thread = nullptr;             // see this_thread()
};

// Whom a task tells that it has ended, once. Both may be gone behind.
class task_caller {
public:
  // What it does then, and who it is: that is asked by those who look for deadlocks.
  struct kind {
    void (*on_end)(task_caller& self, task_promise_base& ended) noexcept;
    who_waits (*who)(const task_caller& self) noexcept;
  };

  task_caller(const task_caller&) = delete;
  task_caller& operator=(const task_caller&) = delete;

  void tell(task_promise_base& ended) noexcept { kind_->on_end(*this, ended); }
  who_waits who() const noexcept { return kind_->who(*this); }

protected:
  task_caller() = default;
  explicit task_caller(const kind& its) noexcept : kind_(&its) {}
  ~task_caller() = default;

  const kind* kind_ = nullptr;
};

// A coroutine that goes on when its tasks have ended.
class coroutine_caller : public task_caller {
protected:
  template <auto OnEnd, class Promise>
  void suspended(std::coroutine_handle<Promise> frame) noexcept {
    static constexpr kind its = {OnEnd, &who<Promise>};
    frame_ = frame;
    kind_ = &its;
  }

  std::coroutine_handle<> frame_;

private:
  template <class Promise>
  static who_waits who(const task_caller& self) noexcept {
    void* const frame = static_cast<const coroutine_caller&>(self).frame_.address();
    if constexpr (std::is_base_of_v<task_promise_base, Promise>) {
      return {frame, &std::coroutine_handle<Promise>::from_address(frame).promise(), nullptr};
    } else {
      return {frame, nullptr, nullptr};
    }
  }
};

// A thread that blocks until its task has ended.
class thread_caller : public task_caller {
public:
  thread_caller() noexcept : task_caller(its) {}
  void wait() noexcept { done_.wait(); }

private:
  static void go_on(task_caller& self, task_promise_base&) noexcept {
    static_cast<thread_caller&>(self).done_.wake();
  }
  static who_waits who(const task_caller& self) noexcept {
    return {nullptr, nullptr, static_cast<const thread_caller&>(self).thread_};
  }
  static constexpr kind its = {&go_on, &who};

  const void* const thread_ = this_thread();
  thread_waiter done_;
};

}  // namespace interlock::detail
