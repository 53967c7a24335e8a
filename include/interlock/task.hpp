// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/task.hpp - write coroutines and run them when there is no coroutine framework.
//
// Problem     C++20 has coroutines, but no type to write one with and nothing to run it on. And
//             resuming one coroutine from inside another ends in a stack overflow under load.
// Guarantee   A task runs when it is awaited and never before. Its result or its exception reaches
//             the one who awaits it. A task has the stop token of the one who awaits it. A million
//             awaits in a loop or nested need no deep stack. sync_wait returns once the awaitable
//             is done and its thread has no coroutine left to run. After reschedule every coroutine
//             that was ready on the thread has had its turn.
// Progress    co_await, reschedule: never block. sync_wait: blocking.
// Cost        One frame from operator new per task; awaiting it takes no atomic operation. The stop
//             token is one pointer in the frame.
// Lifetime    A task owns its frame. A task that has been started may be destroyed once it is done,
//             or while it is suspended, where nobody can resume it meanwhile or on the thread that
//             is about to. That ends the tasks that it awaits, too, each inside the one before.
// Resumes on  The thread on which the awaited thing ended, never from inside another coroutine:
//             next in line after a task, last in line after reschedule or a lock.
// Cancellation A task runs to its end. It hands its stop token to the tasks that it awaits, and to
//             its own waits where it says so: co_await door.lock(co_await current_stop_token()).
// Not for     Programs that have a framework: our awaitables work in its coroutines as well.
//
// Example     task<int> answer() { co_return 42; }        // examples/task.cpp
//             task<int> twice() {
//               const int once = co_await answer();
//               co_return 2 * once;
//             }
//             const int result = sync_wait(twice());

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "detail/awaitable.hpp"
#include "detail/misuse.hpp"
#include "detail/stoppable.hpp"
#include "detail/task_caller.hpp"
#include "detail/waiter.hpp"
#include "inplace_stop_token.hpp"

namespace interlock {

namespace detail {
template <class T>
class task_promise;
struct task_access;
}  // namespace detail

// Requirements: T is void, an lvalue reference, or a type that can be moved.
//
// GCC 12 miscompiles co_await in the condition of an if, while, for or switch, with any task type,
// in a coroutine without local variables. Name the result: const bool is = co_await ready();
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
//          are ready on this thread run first. With a token (inplace_stop_token, std::stop_token or
//          another of that kind) the awaitable has it as its stop token; a stop that is requested
//          does not end the call, but what the awaitable makes of it may.
// Preconditions: not called by a coroutine that the awaitable waits for.
// Returns: the result. Throws: what the awaitable throws.
// Synchronization: what the awaitable did happens before the return.
template <class T>
T sync_wait(task<T>&& work);
template <class Awaitable>
decltype(auto) sync_wait(Awaitable&& awaitable);
template <class T, detail::stop_token_like Token>
T sync_wait(task<T>&& work, Token stop);
template <class Awaitable, detail::stop_token_like Token>
decltype(auto) sync_wait(Awaitable&& awaitable, Token stop);

// Effects: co_await reschedule() lets the coroutines that are ready on this thread run first.
[[nodiscard("write co_await reschedule()")]] inline auto reschedule() noexcept;

// Returns: of co_await current_stop_token(): the stop token of the coroutine, which does not
// suspend. A token that is never requested in a coroutine whose promise has no get_stop_token().
[[nodiscard("write co_await current_stop_token()")]] inline auto current_stop_token() noexcept;

// Returns: the task, which will have this token instead of that of whoever awaits it. The innermost
//          token counts. with_stop_token({}, work) is work that nobody stops.
// Preconditions: not moved from and not awaited before. The token's source outlives the task.
template <class T>
task<T> with_stop_token(inplace_stop_token stop, task<T> work) noexcept;

// ------------------------------------------------------------------------------------------------
// How a task runs: co_await puts it at the head of the thread's list of ready coroutines (see
// trampoline) and suspends; the end of the task puts its caller there. Neither is resumed from
// inside the other, so the stack stays flat without tail calls, which nobody owes us (GCC makes
// none at -O0), and without the usual atomic handshake: the list is the thread's own.

namespace detail {

// A place in the list of ready coroutines, for one coroutine at a time, which may be destroyed
// before its turn, on that thread.
class ready_place : public coroutine_waiter {
public:
  ready_place() noexcept = default;
  ready_place(ready_place&&) noexcept {}  // not in use yet: GCC 12 moves awaiters
  ready_place& operator=(ready_place&&) = delete;
  ~ready_place() {
    if (!continuation || trampoline::forget(*this)) return;
    misuse(
        "a coroutine was destroyed while another thread was about to resume it; destroy it on "
        "that thread, or where nothing that it awaits can end meanwhile");
  }

  void be_next(std::coroutine_handle<> ready) noexcept {
    continuation = ready;
    trampoline::resume_next(*this);  // which may end this
  }
  void be_last(std::coroutine_handle<> ready) noexcept {
    continuation = ready;
    trampoline::resume(*this);
  }
  void resumed() noexcept { continuation = nullptr; }
};

// Returns: the stop token of a coroutine: a task, or one whose promise has get_stop_token().
template <class Promise>
inplace_stop_token stop_token_of(std::coroutine_handle<Promise> self) noexcept {
  if constexpr (requires { inplace_stop_token(self.promise().get_stop_token()); }) {
    return self.promise().get_stop_token();
  } else {
    return {};
  }
}

class task_promise_base {
public:
  auto initial_suspend() noexcept { return begin{place_}; }
  auto final_suspend() const noexcept { return tell_caller{}; }
  void unhandled_exception() noexcept { failure_ = std::current_exception(); }
  inplace_stop_token get_stop_token() const noexcept { return stop_; }

  // Effects: calls see(who) for each one that waits for this task to end, the nearest first, until
  //          it returns false.
  template <class See>
  void for_each_caller(See see) const {
    for (const task_promise_base* task = this; task != nullptr;) {
      const who_waits next = task->caller_->who();
      task = see(next) ? next.task : nullptr;
    }
  }

  // What callers do.
  ready_place& place() noexcept { return place_; }  // free from the first step to the end
  bool failed() const noexcept { return failure_ != nullptr; }
  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

private:
  friend task_access;

  struct begin {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept { place.resumed(); }
    ready_place& place;
  };
  struct tell_caller {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> done) const noexcept {
      task_promise_base& self = done.promise();
      self.caller_->tell(self);  // the frame may be gone now
    }
    void await_resume() const noexcept {}
  };

  static constexpr std::uint32_t own_stop = 1;  // place_.amount: it was given a token of its own

  ready_place place_;              // the task's own until it runs, then its caller's
  task_caller* caller_ = nullptr;  // null until the task is awaited
  inplace_stop_token stop_;
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
  // Effects: makes the task ready, next in line or last. It will tell this caller when it ends.
  template <class T>
  static void start_next(task<T>& work, task_caller& caller, inplace_stop_token stop) noexcept {
    prepare(work, caller, stop).place_.be_next(work.frame_);
  }
  template <class T>
  static void start_last(task<T>& work, task_caller& caller, inplace_stop_token stop) noexcept {
    prepare(work, caller, stop).place_.be_last(work.frame_);
  }

  template <class T>
  static void set_stop_token(task<T>& work, inplace_stop_token stop) noexcept {
    if (!work.frame_) misuse("with_stop_token of a task that was moved from");
    task_promise_base& promise = work.frame_.promise();
    if (std::exchange(promise.place_.amount, promise.own_stop) == 0) promise.stop_ = stop;
  }

  // Preconditions: the task is done. Throws: what left the coroutine.
  template <class T>
  static T take(task<T>& work) {
    return work.frame_.promise().take();
  }
  template <class T>
  static T take_as_resumed(task<T>& work) {
    work.frame_.promise().place().resumed();
    return work.frame_.promise().take();
  }

private:
  template <class T>
  static task_promise_base& prepare(task<T>& work, task_caller& caller,
                                    inplace_stop_token stop) noexcept {
    if (!work.frame_) misuse("co_await of a task that was moved from: await the one it moved to");
    task_promise_base& promise = work.frame_.promise();
    if (promise.caller_ != nullptr) {
      misuse("co_await of a task that was awaited before: call its function again for another run");
    }
    promise.caller_ = &caller;
    if (promise.place_.amount == 0) promise.stop_ = stop;
    return promise;
  }
};

class reschedule_awaiter {
public:
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept { place_.be_last(self); }
  void await_resume() noexcept { place_.resumed(); }

private:
  ready_place place_;
};

class stop_token_awaiter {
public:
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
    found_ = stop_token_of(self);
    return false;
  }
  inplace_stop_token await_resume() const noexcept { return found_; }

private:
  inplace_stop_token found_;
};

// A stop that is requested here or by whom a token tells.
template <stop_token_like Token>
class linked_stop {
public:
  // Effects: a stop of the token is one here, from now on or at once.
  void link(const Token& token) { heard_.emplace(token, hear{&source_}); }
  // Effects: waits for a call that is at it on another thread.
  void unlink() noexcept { heard_.reset(); }

  bool request() noexcept { return source_.request_stop(); }
  inplace_stop_token token() const noexcept { return source_.get_token(); }

private:
  struct hear {
    inplace_stop_source* source;
    void operator()() const noexcept { source->request_stop(); }
  };

  inplace_stop_source source_;
  std::optional<typename stop_callback_of<Token, hear>::type> heard_;
};

// Kept: a value, which the task keeps, or a reference.
template <class Kept>
task<await_result_t<Kept>> as_task(Kept awaitable) {
  auto&& awaiter = awaiter_of(std::forward<Kept>(awaitable));
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
class [[nodiscard("write co_await")]] task<T>::awaiter : detail::coroutine_caller {
public:
  explicit awaiter(task& work) noexcept : work_(work) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> caller) noexcept {
    this->template suspended<&awaiter::go_on>(caller);
    detail::task_access::start_next(work_, *this, detail::stop_token_of(caller));
  }
  T await_resume() { return detail::task_access::take_as_resumed(work_); }

private:
  static void go_on(task_caller& self, detail::task_promise_base& ended) noexcept {
    ended.place().be_next(static_cast<awaiter&>(self).frame_);
  }

  task& work_;
};

template <class T>
T sync_wait(task<T>&& given) {
  task<T> work(std::move(given));
  detail::thread_caller caller;
  detail::task_access::start_next(work, caller, {});
  detail::trampoline::run_ready();  // for a caller that is itself a coroutine
  caller.wait();
  return detail::task_access::take(work);
}

template <class Awaitable>
decltype(auto) sync_wait(Awaitable&& awaitable) {
  static_assert(detail::awaitable<Awaitable>,
                "interlock::sync_wait needs something that co_await accepts; a task t that has a "
                "name is given away: sync_wait(std::move(t))");
  return sync_wait(detail::as_task<Awaitable&&>(std::forward<Awaitable>(awaitable)));
}

template <class T, detail::stop_token_like Token>
T sync_wait(task<T>&& work, Token stop) {
  if constexpr (std::is_same_v<Token, inplace_stop_token>) {
    return sync_wait(with_stop_token(stop, std::move(work)));
  } else {
    detail::linked_stop<Token> linked;
    linked.link(stop);
    return sync_wait(with_stop_token(linked.token(), std::move(work)));
  }
}

template <class Awaitable, detail::stop_token_like Token>
decltype(auto) sync_wait(Awaitable&& awaitable, Token stop) {
  return sync_wait(detail::as_task<Awaitable&&>(std::forward<Awaitable>(awaitable)),
                   std::move(stop));
}

inline auto reschedule() noexcept { return detail::reschedule_awaiter(); }

inline auto current_stop_token() noexcept { return detail::stop_token_awaiter(); }

template <class T>
task<T> with_stop_token(inplace_stop_token stop, task<T> work) noexcept {
  detail::task_access::set_stop_token(work, stop);
  return work;
}

}  // namespace interlock
