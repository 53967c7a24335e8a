// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/offload.hpp - a coroutine awaits a blocking call on its client's thread.

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "../../detail/misuse.hpp"
#include "../../detail/waiter.hpp"
#include "../../worker_pool.hpp"
#include "process_generation.hpp"

namespace interlock::store::detail {

// The threads of a client on which awaited calls block. None before the first of those. A child of
// fork() has none of its parent's: it gets its own, and what the parent's had to run is theirs.
class offload_threads {
public:
  explicit offload_threads(std::size_t threads) noexcept : threads_(threads) {}

  // Effects: runs what was taken. On one of its own threads, where the client's last handle may
  //          well end, another thread does that and this one goes on.
  ~offload_threads() {
    leave_to_parent();
    if (pool_ == nullptr || !pool_->runs_this_thread()) return;
    std::thread([last = std::move(pool_)] {}).detach();
  }

  offload_threads(const offload_threads&) = delete;
  offload_threads& operator=(const offload_threads&) = delete;

  // Effects: has f run on a thread of the client.
  // Throws: std::system_error if a thread cannot be started, std::bad_alloc: nothing was taken.
  template <class F>
  void execute(F&& f) {
    pool().execute(std::forward<F>(f));
  }

private:
  worker_pool& pool() {
    const std::lock_guard lock(process_guard);  // a child may have been made at any time
    leave_to_parent();
    if (pool_ == nullptr) {
      pool_ = std::make_unique<worker_pool>(worker_pool_options{.threads = threads_});
    }
    return *pool_;
  }
  // Effects: in a child of fork(), forgets a pool of before: it would be waited for without end.
  void leave_to_parent() noexcept {
    const unsigned now = process_generation();
    if (std::exchange(made_in_, now) != now) static_cast<void>(pool_.release());
  }

  const std::size_t threads_;
  unsigned made_in_ = process_generation();
  std::unique_ptr<worker_pool> pool_;
};

// What both the awaiter and the thread that works for it know. The coroutine may be destroyed while
// it is suspended; then the call still ends, and nobody gets the answer.
template <class F>
class offloaded_call {
public:
  using result = std::invoke_result_t<F&>;

  explicit offloaded_call(F&& f) : f_(std::move(f)) {}

  // Effects: on the client's thread.
  void run() noexcept {
    try {
      answer_.emplace((*f_)());
    } catch (...) {
      thrown_ = std::current_exception();
    }
    f_.reset();  // which may hold the client
    interlock::detail::waiter* to_wake = nullptr;
    {
      const std::lock_guard lock(mutex_);
      to_wake = std::exchange(waiter_, nullptr);
    }
    if (to_wake != nullptr) to_wake->wake();
  }

  void await(interlock::detail::waiter& node) noexcept { waiter_ = &node; }  // before run()
  // Returns: false if it was awaited no more, or wake() has begun.
  [[nodiscard]] bool leave() noexcept {
    const std::lock_guard lock(mutex_);
    return std::exchange(waiter_, nullptr) != nullptr;
  }
  [[nodiscard]] result take() {
    if (thrown_) std::rethrow_exception(thrown_);
    return std::move(*answer_);
  }

private:
  std::optional<F> f_;
  std::optional<result> answer_;
  std::exception_ptr thrown_;
  std::mutex mutex_;
  interlock::detail::waiter* waiter_ = nullptr;  // under the mutex; null once it is not needed
};

// co_await runs f() on a thread of `threads`, which has execute() and outlives the call, or is a
// client that has offload(), and goes on there with its result. What f refers to outlives the call,
// not only the coroutine.
template <class Threads, class F>
class [[nodiscard("write co_await")]] offloaded {
  struct node : interlock::detail::coroutine_waiter {
    using coroutine_waiter::coroutine_waiter;
    node() noexcept = default;
    node(node&&) noexcept {}  // not in use yet: GCC 12 moves awaiters
  };

  struct by_reference {
    Threads* at;
    template <class Job>
    void offload(const Job& job) const {
      at->execute(job);
    }
  };
  static constexpr bool is_client = requires(Threads & t) {
    t.offload([] {});
  };
  using kept = std::conditional_t<is_client, Threads, by_reference>;

public:
  offloaded(Threads & threads, F f) : threads_(keep(threads)), f_(std::move(f)) {}
  offloaded(offloaded && other) noexcept
      : threads_(other.threads_), f_(std::move(other.f_)) {}  // not awaited yet
  offloaded& operator=(offloaded&&) = delete;
  ~offloaded() {
    if (!waits_ || call_->leave() || interlock::detail::trampoline::forget(node_)) return;
    interlock::detail::misuse(
        "a coroutine that awaits an engine was destroyed while a thread of the client was about "
        "to resume it; destroy it where the call cannot end meanwhile");
  }

  bool await_ready() const noexcept {
    return false;
  }
  void await_suspend(std::coroutine_handle<> self) {
    call_ = std::make_shared<offloaded_call<F>>(std::move(f_));
    node_.continuation = self;
    call_->await(node_);
    waits_ = true;
    try {
      const auto job = [call = call_] { call->run(); };
      kept threads(threads_);  // the coroutine may end, and its client, within offload()
      threads.offload(job);
    } catch (...) {
      waits_ = false;
      throw;
    }
  }
  typename offloaded_call<F>::result await_resume() {
    waits_ = false;
    return call_->take();
  }

private:
  static kept keep(Threads & threads) {
    if constexpr (is_client) {
      return threads;
    } else {
      return {&threads};
    }
  }

  kept threads_;
  F f_;
  std::shared_ptr<offloaded_call<F>> call_;
  bool waits_ = false;
  node node_;
};

}  // namespace interlock::store::detail
