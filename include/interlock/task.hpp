// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/task.hpp - write coroutines and run them when there is no coroutine framework.
//
// Problem     C++20 has coroutines, but no type to write one with and nothing to run it on. And
//             resuming one coroutine from inside another ends in a stack overflow under load.
// Guarantee   A task runs when it is awaited and never before. Its result or its exception reaches
//             the one who awaits it. A million awaits in a loop or nested need no deep stack.
//             sync_wait returns once the awaitable is done and its thread has no coroutine left
//             to run. After reschedule every coroutine that was ready on the thread has had its
//             turn.
// Progress    co_await, reschedule: never block. sync_wait: blocking.
// Cost        One frame from operator new per task; awaiting it takes no atomic operation.
// Lifetime    A task owns its frame. A task that has been started may be destroyed once it is done,
//             or while it waits for something that allows it (async_mutex does not).
// Resumes on  The thread on which the awaited thing ended, never from inside another coroutine:
//             next in line after a task, last in line after reschedule or a lock.
// Cancellation none: a task that was started runs to its end.
// Not for     Programs that have a framework: our awaitables work in its coroutines as well.
//
// Example     task<int> answer() { co_return 42; }        // examples/task.cpp
//             task<int> twice() {
//               const int once = co_await answer();
//               co_return 2 * once;
//             }
//             const int result = sync_wait(twice());

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "detail/awaitable.hpp"
#include "detail/misuse.hpp"
#include "detail/waiter.hpp"

namespace interlock {

namespace detail {
template <class T>
class task_promise;
struct task_access;
}  // namespace detail

// Requirements: T is void, an lvalue reference, or a type that can be moved.
//
// GCC 12 miscompiles a coroutine without local variables that awaits in a condition, with any task
// type: if (!co_await ready()) co_return; hangs. Name the result: const bool is = co_await ready();
template <class T = void>
class [[nodiscard("a task does nothing until it is awaited")]] task {
public:
  struct promise_type;  // what the compiler looks for

  task(task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  task& operator=(task&& other) noexcept {
    task(std::move(other)).swap(*this);
    return *this;
  }
  ~task() {
    if (frame_) frame_.destroy();
  }

  // Effects: runs the task and resumes the awaiting coroutine when it is done.
  // Returns: the result. Throws: what left the coroutine.
  // Preconditions: not moved from and not awaited before; a task runs once.
  auto operator co_await() && noexcept { return awaiter(*this); }
  void operator co_await() & = delete;  // write co_await std::move(t): a task runs once

  void swap(task& other) noexcept { std::swap(frame_, other.frame_); }

private:
  friend detail::task_access;
  class awaiter;

  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;  // null when moved from
};

// Effects: starts the awaitable on this thread and blocks until it is done. Other coroutines that
//          are ready on this thread run first.
// Preconditions: not called by a coroutine that the awaitable waits for.
// Returns: the result. Throws: what the awaitable throws.
// Synchronization: what the awaitable did happens before the return.
template <class T>
T sync_wait(task<T>&& work);
template <class Awaitable>
decltype(auto) sync_wait(Awaitable&& awaitable);

// Effects: co_await reschedule() lets the coroutines that are ready on this thread run first.
[[nodiscard("write co_await reschedule()")]] inline auto reschedule() noexcept;

// ------------------------------------------------------------------------------------------------
// How a task runs: co_await puts it at the head of the thread's list of ready coroutines (see
// trampoline) and suspends; the end of the task puts its caller there. Neither is resumed from
// inside the other, so the stack stays flat without tail calls, which nobody owes us (GCC makes
// none at -O0), and without the usual atomic handshake: the list is the thread's own.

namespace detail {

// Waits for a task as its caller does: goes on before whatever else is ready, as after a call.
class caller_waiter : public coroutine_waiter {
public:
  caller_waiter() noexcept : coroutine_waiter(&resume_at_once) {}

private:
  static void resume_at_once(waiter& self) noexcept {
    trampoline::resume_next(static_cast<coroutine_waiter&>(self));
  }
};

class task_promise_base {
public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  auto final_suspend() const noexcept { return wake_caller{}; }
  void unhandled_exception() noexcept { failure_ = std::current_exception(); }

protected:
  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

private:
  friend task_access;

  struct wake_caller {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> done) const noexcept {
      static_cast<task_promise_base&>(done.promise()).caller_->wake();  // the frame may be gone now
    }
    void await_resume() const noexcept {}
  };

  coroutine_waiter start_;      // queues the task itself when it is started
  waiter* caller_ = nullptr;    // woken at the end; null until the task is started
  std::exception_ptr failure_;  // what left the coroutine
};

template <class T>
class task_promise : public task_promise_base {
public:
  static_assert(!std::is_reference_v<T>, "return a value or an lvalue reference");
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "compilers do not over-align coroutine frames: return a pointer instead");

  template <class U = T>
    requires std::is_constructible_v<T, U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    this->rethrow_failure();
    return std::move(*value_);
  }

private:
  std::optional<T> value_;
};

template <class T>
class task_promise<T&> : public task_promise_base {
public:
  void return_value(T& value) noexcept { value_ = &value; }
  T& take() const {
    this->rethrow_failure();
    return *value_;
  }

private:
  T* value_ = nullptr;
};

template <>
class task_promise<void> : public task_promise_base {
public:
  void return_void() const noexcept {}
  void take() const { rethrow_failure(); }
};

struct task_access {
  // Returns: what the trampoline resumes to start the task. Its end wakes the caller.
  template <class T>
  static coroutine_waiter& start(task<T>& work, waiter& caller) noexcept {
    if (!work.frame_) misuse("co_await of a task that was moved from: await the one it moved to");
    task_promise_base& promise = work.frame_.promise();
    if (promise.caller_ != nullptr) {
      misuse("co_await of a task that was awaited before: call its function again for another run");
    }
    promise.caller_ = &caller;
    promise.start_.continuation = work.frame_;
    return promise.start_;
  }

  // Preconditions: the task is done. Throws: what left the coroutine.
  template <class T>
  static T take(task<T>& work) {
    return work.frame_.promise().take();
  }
};

class reschedule_awaiter {
public:
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    node_.continuation = self;
    node_.wake();
  }
  void await_resume() const noexcept {}

private:
  coroutine_waiter node_;
};

template <class Awaitable>
task<await_result_t<Awaitable>> as_task(Awaitable&& awaitable) {
  auto&& awaiter = awaiter_of(std::forward<Awaitable>(awaitable));
  co_return co_await awaiter;  // an lvalue: GCC 12 moves an awaiter that is an xvalue
}

}  // namespace detail

template <class T>
struct task<T>::promise_type : detail::task_promise<T> {
  task get_return_object() noexcept {
    return task(std::coroutine_handle<promise_type>::from_promise(*this));
  }
};

template <class T>
class [[nodiscard("write co_await")]] task<T>::awaiter {
public:
  explicit awaiter(task& work) noexcept
      : work_(work), start_(detail::task_access::start(work, caller_)) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) noexcept {
    caller_.continuation = caller;
    detail::trampoline::resume_next(start_);
  }
  T await_resume() { return detail::task_access::take(work_); }

private:
  task& work_;
  detail::caller_waiter caller_;
  detail::coroutine_waiter& start_;
};

template <class T>
T sync_wait(task<T>&& given) {
  task<T> work(std::move(given));
  detail::thread_waiter done;
  detail::trampoline::resume_next(detail::task_access::start(work, done));
  detail::trampoline::run_ready();  // for a caller that is itself a coroutine
  done.wait();
  return detail::task_access::take(work);
}

template <class Awaitable>
decltype(auto) sync_wait(Awaitable&& awaitable) {
  static_assert(detail::awaitable<Awaitable>,
                "interlock::sync_wait needs something that co_await accepts; a task t that has a "
                "name is given away: sync_wait(std::move(t))");
  return sync_wait(detail::as_task(std::forward<Awaitable>(awaitable)));
}

inline auto reschedule() noexcept { return detail::reschedule_awaiter(); }

}  // namespace interlock
