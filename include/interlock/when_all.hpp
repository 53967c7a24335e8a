// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/when_all.hpp - run several things at once and go on when all of them are done.
//
// Problem     Fifty requests overlap in one event loop; a loop of co_await runs them one by one.
// Guarantee   when_all starts its children in order without waiting for any of them. It ends when
//             all of them have ended and gives their results in order. The failure that came first
//             is thrown only after all of them have ended. A failure requests stop of the others.
//             A stop of the one who awaits when_all is a stop of its children.
// Progress    Never blocks; but the last to end waits while another thread is handing on a stop.
// Cost        A child that is a task: its own frame and no other. Any other awaitable: a frame. One
//             atomic decrement for each child. A range: also a frame, and the vector of results.
// Lifetime    Tasks belong to when_all, which ends after all of them. Of other awaitables it keeps
//             what can be moved. What cannot, or has a name, stays where it is and must outlive it.
// Resumes on  The thread on which the last child ended, last in line there.
// Cancellation Children have a stop token of their own, which is requested when one of them throws
//             or the caller's token is. They run to their end all the same.
// Not for     Parallel work: one thread runs all children unless they themselves go elsewhere.
//
// Example     std::vector<task<int>> requests;            // examples/task.cpp
//             for (int i = 0; i < 50; ++i) requests.push_back(handle(i));
//             const std::vector<int> replies = sync_wait(when_all(std::move(requests)));

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <iterator>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "detail/awaitable.hpp"
#include "detail/waiter.hpp"
#include "inplace_stop_token.hpp"
#include "task.hpp"

namespace interlock {

namespace detail {
template <class>
struct task_result {};
template <class T>
struct task_result<task<T>> {
  using type = T;
};
template <class Range>
using each_result = typename task_result<
    std::remove_reference_t<decltype(*std::begin(std::declval<Range&>()))>>::type;

// What has tasks and can be gone through twice: a vector, an array, a list, a span.
template <class Range>
concept range_of_tasks = requires {
  typename each_result<Range>;
  requires std::forward_iterator<decltype(std::begin(std::declval<Range&>()))>;
};
}  // namespace detail

// Effects: co_await when_all(a, b) starts the awaitables in order and suspends until all are done.
// Returns: a std::tuple of their results in the same order; std::monostate stands for void.
// Throws: the first of their exceptions in time: others may be what the stop made of them.
// Preconditions: no task was moved from or awaited before.
template <class... Awaitables>
  requires(!detail::range_of_tasks<std::remove_reference_t<Awaitables>> && ...)
auto when_all(Awaitables&&... awaitables);

// The same for a range of task<T>. Returns: a task of std::vector<T>, or of void if T is.
template <detail::range_of_tasks Tasks>
auto when_all(Tasks tasks);

namespace detail {

// What the children of one when_all have in common: their caller, and their stop.
class siblings : public coroutine_caller {
public:
  explicit siblings(std::size_t children) noexcept : pending_(children + 1) {}

  // Effects: start_all(token) starts all children, last in line, with this as their caller.
  template <class Promise, class StartAll>
  void start(std::coroutine_handle<Promise> caller, StartAll start_all) noexcept {
    suspended<&siblings::on_end>(caller);
    if (const inplace_stop_token from = stop_token_of(caller); from.stop_possible()) {
      stop_.link(from);
    }
    trampoline::together([&] {
      start_all(stop_.token());
      arrive();  // the one in excess: the children are alive until all of them have been started
    });
  }

  // Effects: for await_resume. Throws: the first failure.
  void finish() {
    place_.resumed();
    stop_.unlink();
    // order: relaxed: [when_all.arrive] has published it
    const task_promise_base* const failed = first_failure_.load(std::memory_order_relaxed);
    if (failed != nullptr) failed->rethrow_failure();
  }

private:
  static void on_end(task_caller& caller, task_promise_base& child) noexcept {
    auto& self = static_cast<siblings&>(caller);
    if (child.failed()) {
      trampoline::together([&] {  // nobody goes on before the stop is requested
        self.fail(child);
        self.arrive();
      });
    } else {
      self.arrive();
    }
  }

  void fail(task_promise_base& child) noexcept {
    task_promise_base* none = nullptr;
    // order: relaxed/relaxed: who comes first; [when_all.arrive] publishes the failure
    if (first_failure_.compare_exchange_strong(none, &child, std::memory_order_relaxed,
                                               std::memory_order_relaxed)) {
      stop_.request();
    }
  }

  void arrive() noexcept {
    // order: acq_rel [when_all.arrive] pairs with [when_all.arrive]: the last one hands on what all the others did
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) place_.be_last(frame_);
  }

  std::atomic<std::size_t> pending_;
  std::atomic<task_promise_base*> first_failure_{nullptr};
  ready_place place_;
  linked_stop<inplace_stop_token> stop_;
};

// The children of a tuple or a range: how many, each of them, their results.
template <class... T>
class tuple_of_tasks {
  template <class U>
  using slot = std::conditional_t<std::is_void_v<U>, std::monostate, U>;

public:
  explicit tuple_of_tasks(task<T>... tasks) noexcept : tasks_(std::move(tasks)...) {}

  std::size_t size() const noexcept { return sizeof...(T); }
  template <class F>
  void for_each(F f) {
    std::apply([&](task<T>&... each) { (f(each), ...); }, tasks_);
  }
  std::tuple<slot<T>...> results() {
    return std::apply([](task<T>&... each) { return std::tuple<slot<T>...>{take(each)...}; },
                      tasks_);
  }

private:
  template <class U>
  static slot<U> take(task<U>& each) {
    if constexpr (std::is_void_v<U>) {
      return {};
    } else {
      return task_access::take(each);
    }
  }

  std::tuple<task<T>...> tasks_;
};

template <class Range>
class tasks_in {
  using result = each_result<Range>;
  static_assert(!std::is_reference_v<result>, "a vector holds no references: return pointers");

public:
  explicit tasks_in(Range&& tasks) : tasks_(std::move(tasks)) {}

  std::size_t size() { return static_cast<std::size_t>(std::distance(begin(), std::end(tasks_))); }
  template <class F>
  void for_each(F f) {
    for (task<result>& each : tasks_) f(each);
  }
  auto results() {
    if constexpr (!std::is_void_v<result>) {
      std::vector<result> all;
      all.reserve(size());
      for (task<result>& each : tasks_) all.push_back(task_access::take(each));
      return all;
    }
  }

private:
  auto begin() { return std::begin(tasks_); }

  Range tasks_;
};

template <class Children>
class [[nodiscard("write co_await")]] all_of {
public:
  explicit all_of(Children&& children) : children_(std::move(children)) {}

  auto operator co_await() && { return awaiter(std::move(children_)); }

private:
  class awaiter {
  public:
    explicit awaiter(Children&& children)
        : siblings_(children.size()), children_(std::move(children)) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> caller) noexcept {
      siblings_.start(caller, [this](inplace_stop_token stop) {
        children_.for_each([&](auto& each) { task_access::start_last(each, siblings_, stop); });
      });
    }
    auto await_resume() {
      siblings_.finish();
      return children_.results();
    }

  private:
    siblings siblings_;
    Children children_;  // behind: they know their siblings' stop
  };

  Children children_;
};

// Returns: the task that it is, or one that awaits it.
template <class T>
task<T> child_of(task<T>&& work) noexcept {
  return std::move(work);
}
template <class Awaitable>
auto child_of(Awaitable&& given) {
  static_assert(awaitable<Awaitable>,
                "interlock::when_all needs things that co_await accepts; a task t that has a name "
                "is given away: when_all(std::move(t))");
  // What cannot be moved stays where it is, and so does what has a name.
  using kept = std::conditional_t<std::is_move_constructible_v<Awaitable>, Awaitable, Awaitable&&>;
  return as_task<kept>(std::forward<Awaitable>(given));
}

}  // namespace detail

template <class... Awaitables>
  requires(!detail::range_of_tasks<std::remove_reference_t<Awaitables>> && ...)
auto when_all(Awaitables&&... awaitables) {
  detail::tuple_of_tasks children(detail::child_of(std::forward<Awaitables>(awaitables))...);
  return detail::all_of(std::move(children));
}

template <detail::range_of_tasks Tasks>
auto when_all(Tasks tasks) {
  using all = detail::all_of<detail::tasks_in<Tasks>>;
  return detail::as_task<all>(all(detail::tasks_in<Tasks>(std::move(tasks))));
}

}  // namespace interlock
