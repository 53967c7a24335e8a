// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lane_work.hpp - the words that the queues share, and what a lane runs.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>

#include "parking.hpp"

namespace interlock {

// What became of a posted task.
enum class post_result { accepted, full, closed };

// What post() does when the queue is full: refuse, or wait until its task has run.
enum class when_full { reject, block };

struct queue_options {
  std::size_t capacity = SIZE_MAX;     // posted tasks that may wait in line; run, submit may always
  when_full full = when_full::reject;  // what post() does beyond that
  std::uint32_t quantum = 64;          // tasks that a thread does for others before it hands over
  std::size_t workers = 0;             // threads of the queue's own that do what is queued
  // Or this has the work done: it runs the job once, on some thread, not within the call, which
  // may come from inside a task and would nest once for each quantum. Neither: the callers do it.
  std::function<void(std::function<void()>)> executor{};
  // Gets what posted tasks throw, and what the executor throws if it does not take a job: then the
  // thread that asked does the work. Without it such an exception ends the program.
  std::function<void(std::exception_ptr)> on_error{};
};

// When nothing is queued or running: accepted == completed + failed + cancelled. Before that each
// number is right by itself. A task counts as accepted once a runner has picked it up
// (serial_queue) or as soon as it is in the line of its key (keyed_serial_queue).
struct queue_stats {
  std::uint64_t accepted = 0;
  std::uint64_t completed = 0;  // returned
  std::uint64_t failed = 0;     // threw
  std::uint64_t cancelled = 0;  // never ran, because of cancel_pending()
};

namespace detail {

[[noreturn]] inline void throw_error(std::errc code, const char* sentence) {
  throw std::system_error(std::make_error_code(code), sentence);
}
// Finds less than detail::awaitable, but a task, and costs no header.
template <class R>
concept looks_awaitable = requires(R&& r) { std::forward<R>(r).operator co_await(); } ||
                          requires(R&& r) { r.await_ready(); };
template <class F>
constexpr void refuse_coroutine() noexcept {
  static_assert(!looks_awaitable<std::invoke_result_t<F>>,
                "interlock: nothing would await what f returns here; use serial_queue::submit()");
}

[[noreturn]] inline void throw_closed() {
  throw_error(std::errc::broken_pipe,
              "interlock: the queue is closed and takes no work; close it after its last user");
}

// Returns: the options. Throws: std::invalid_argument if no queue can work with them.
inline queue_options checked(queue_options options, std::size_t most_workers) {
  if (options.capacity == 0 || options.quantum == 0) {
    throw std::invalid_argument(
        "interlock: a queue with a capacity or quantum of 0 does no work; use at least 1");
  }
  if (options.workers > most_workers || (options.workers != 0 && options.executor)) {
    throw std::invalid_argument(
        "interlock: a serial_queue has one worker at most, and an executor replaces the workers of "
        "any queue; leave out what is too much");
  }
  return options;
}

// How work ended; none: it never began, suspended: it has not ended.
enum class ending : std::uint8_t { none, completed, failed, cancelled, suspended };

// A piece of work: on the heap (post), on its thread's stack (run), in a coroutine frame (submit).
struct alignas(8) work {  // a lane keeps flags in the three low bits of the address
  enum class kind : std::uint8_t { posted, called, awaited, barrier };
  enum class step : std::uint8_t { run, cancel, resume };  // resume: awaited work, off the lane
  using performer = ending (*)(work&, const queue_options*, step) noexcept;

  work(kind k, performer p) noexcept : perform(p), what(k) {}
  bool has_thread() const noexcept { return what == kind::called || what == kind::barrier; }

  // Returns: true when this thread has been made the runner, false when the work is done.
  bool wait_for_role() noexcept {
    for (unsigned round = 0;; ++round) {
      // order: acquire [work.wait] pairs with [work.tell]: sees the result, or the lane as its last runner left it
      std::uint32_t seen = news.load(std::memory_order_acquire);
      if (seen == done) return false;
      if (seen == role) break;
      if (round < spin_rounds) {
        spin_hint(round);
        continue;
      }
      // order: relaxed/relaxed: announces the parking; news that came first is read above
      news.compare_exchange_strong(seen, parked, std::memory_order_relaxed,
                                   std::memory_order_relaxed);
      if (seen <= parked) park(news, parked);
    }
    // order: relaxed: only the runner tells, and that is this thread now
    news.store(waiting, std::memory_order_relaxed);
    return true;
  }

  // Effects: tells the thread that waits: the last touch of the node, and with `role` of the lane.
  void tell(std::uint32_t what_happened) noexcept {
    const park_word* const address = &news;
    // order: release [work.tell] pairs with [work.wait]: publishes the result and the lane
    if (news.exchange(what_happened, std::memory_order_release) == parked) unpark_one(address);
  }

  static constexpr std::uint32_t waiting = 0, parked = 1, done = 2, role = 3;
  work* next = nullptr;
  const performer perform;  // posted work frees itself
  std::uint32_t generation = 0;
  park_word news{waiting};
  kind what;
};

// The lanes that this thread does the work of, innermost first.
struct inside {
  explicit inside(const void* lane) noexcept : which(lane), outer(std::exchange(innermost, this)) {}
  ~inside() { innermost = outer; }
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;

  // Throws: if this thread would wait for work that only it can get on with.
  static void refuse_to_wait_for(const void* lane) {
    for (const inside* i = innermost; i != nullptr; i = i->outer) {
      if (i->which != lane) continue;
      throw_error(std::errc::resource_deadlock_would_occur,
                  "interlock: a task waits for the queue that runs it, which never ends; call the "
                  "function directly, or post() it to run afterwards; on the worker of a "
                  "serial_queue, outside its tasks, co_await submit() instead");
    }
  }

  const void* const which;
  const inside* const outer;
  static inline constinit thread_local const inside* innermost = nullptr;
};

// What a task returned or threw, on its way to the submitter.
template <class R>
class result {
public:
  template <class F>
  ending run(F&& f) noexcept {
    try {
      if constexpr (std::is_void_v<R>) {
        std::invoke(std::forward<F>(f));
      } else {
        value_.emplace(box{std::invoke(std::forward<F>(f))});
      }
      return ending::completed;
    } catch (...) {
      error_ = std::current_exception();
      return ending::failed;
    }
  }

  ending cancel() noexcept {
    run([]() -> R {
      throw_error(std::errc::operation_canceled,
                  "interlock: cancel_pending() came before this task had started");
    });
    return ending::cancelled;
  }

  R take() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    if constexpr (!std::is_void_v<R>) return std::forward<R>(value_->held);
  }

private:
  struct box {
    std::conditional_t<std::is_void_v<R>, bool, R> held;
  };
  std::optional<box> value_;
  std::exception_ptr error_;
};

template <class F>
struct called_work : work {
  explicit called_work(F& f) noexcept : work(kind::called, &perform_it), function(f) {}

  static ending perform_it(work& self, const queue_options*, step what_to_do) noexcept {
    auto& node = static_cast<called_work&>(self);
    if (what_to_do == step::cancel) return node.outcome.cancel();
    return node.outcome.run(std::forward<F>(node.function));
  }
  F& function;
  result<std::invoke_result_t<F>> outcome;
};

// Effects: hands the exception that is being handled to on_error: nobody else will see it.
inline void report_error(const queue_options& options) noexcept {
  if (!options.on_error) std::terminate();
  options.on_error(std::current_exception());
}

template <class Task>
ending attempt(Task& task, const queue_options& options) noexcept {
  try {
    std::invoke(std::move(task));
    return ending::completed;
  } catch (...) {
    report_error(options);
    return ending::failed;
  }
}

template <class Task>
struct posted_work : work {
  template <class F>
  explicit posted_work(F&& f) : work(kind::posted, &perform_it), task(std::forward<F>(f)) {}

  static ending perform_it(work& self, const queue_options* options, step what_to_do) noexcept {
    auto& node = static_cast<posted_work&>(self);
    const bool cancelled = what_to_do == step::cancel;
    const ending how = cancelled ? ending::cancelled : attempt(*node.task, *options);
    node.task.reset();
    if (node.what == kind::posted) delete &node;
    return how;
  }
  std::optional<Task> task;
};

}  // namespace detail
}  // namespace interlock
