// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/when_all.hpp - run many tasks at once and go on when all of them are done.
//
// Problem     Fifty requests overlap in one event loop; a loop of co_await runs them one by one.
// Guarantee   when_all starts the tasks in order without waiting for any of them. It ends when all
//             tasks have ended and gives their results in order. The first failure in that order is
//             thrown only after all tasks have ended.
// Progress    Never blocks.
// Cost        One frame, one vector for the results, one atomic decrement per task.
// Lifetime    The tasks belong to when_all, which ends after all of them.
// Resumes on  The thread on which the last task ended, last in line there.
// Cancellation none: every task runs to its end.
// Not for     Parallel work: one thread runs all tasks unless they themselves go elsewhere.
//
// Example     std::vector<task<int>> requests;            // examples/task.cpp
//             for (int i = 0; i < 50; ++i) requests.push_back(handle(i));
//             const std::vector<int> replies = sync_wait(when_all(std::move(requests)));

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/waiter.hpp"
#include "task.hpp"

namespace interlock {

// Effects: co_await when_all(tasks) starts the tasks in order and suspends until all are done.
// Returns: their results in the same order. Throws: the first of their exceptions in that order.
// Preconditions: no task was moved from or awaited before. T is void or a type that can be moved.
template <class T>
task<std::vector<T>> when_all(std::vector<task<T>> tasks);
inline task<void> when_all(std::vector<task<void>> tasks);

namespace detail {

// Awaits a list of tasks. All of them have this one node as their caller: the last wakes for all.
template <class T>
class start_all : public waiter {
public:
  explicit start_all(std::vector<task<T>>& tasks) noexcept
      : waiter(&arrive), tasks_(tasks), pending_(tasks.size() + 1) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) noexcept {
    caller_.continuation = caller;
    for (task<T>& each : tasks_) trampoline::resume(task_access::start(each, *this));
    wake();  // the one in excess: the tasks are alive until all of them have been started
  }
  void await_resume() const noexcept {}

private:
  static void arrive(waiter& node) noexcept {
    auto& self = static_cast<start_all&>(node);
    // order: acq_rel [when_all.arrive] pairs with [when_all.arrive]: the last one hands on what all the others did
    if (self.pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) self.caller_.wake();
  }

  std::vector<task<T>>& tasks_;
  std::atomic<std::size_t> pending_;
  coroutine_waiter caller_;
};

}  // namespace detail

template <class T>
task<std::vector<T>> when_all(std::vector<task<T>> tasks) {
  static_assert(!std::is_reference_v<T>, "a vector holds no references: return pointers");
  co_await detail::start_all<T>(tasks);
  std::vector<T> results;
  results.reserve(tasks.size());
  for (task<T>& each : tasks) results.push_back(detail::task_access::take(each));
  co_return results;
}

inline task<void> when_all(std::vector<task<void>> tasks) {
  co_await detail::start_all<void>(tasks);
  for (task<void>& each : tasks) detail::task_access::take(each);
}

}  // namespace interlock
