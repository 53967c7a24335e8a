// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/serial_queue.hpp - critical work one at a time, in order; results go to who asked.
//
// Problem     Work on shared state must not overlap and must keep its order. A mutex forgets the
//             order; a thread with a queue costs two thread switches for every answer.
// Guarantee   No two tasks of a queue run at the same time. Queued tasks run in the order in which
//             they were queued. What a task returns or throws reaches the caller of run or submit.
//             Every accepted task runs to its end unless it is cancelled. Nothing is accepted after
//             close. A task that waits for its own queue gets an error.
// Progress    run, drain: blocking. try_run: never waits. post, submit: lock-free; without worker
//             and executor whoever finds the queue idle does work, for others up to the quantum and
//             on until somebody waits who can take over: use a worker where that matters.
// Cost        Idle: run is two CAS around your function. Busy: one CAS. Allocates for post (the
//             task), for a coroutine that submit runs (a frame), and for the copy, per hand-over,
//             of an executor that std::function cannot hold inline.
// Lifetime    The destructor closes and drains. The executor must outlive the queue and run what it
//             took. A coroutine must not be destroyed while it waits here, nor destroy the queue on
//             its worker.
// Resumes on  The thread that ran the task, once it is no longer the queue's runner, and before the
//             call that it was in returns. On the queue's worker, who would wait for the queue gets
//             the error, as in a task.
// Cancellation cancel_pending() ends what has not started.
// Not for     A caller that holds a lock which tasks take. A coroutine that awaits its own queue
//             from inside, or queues that wait for each other on two threads: not detected, they
//             hang. Tasks that post to a queue without worker whose tasks wait for them: an error.
//
// Example     serial_queue ledger;  // examples/serial_queue.cpp
//             const auto posted = ledger.post([&] { balance += 500; });    // fire and forget
//             const int left = ledger.run([&] { return balance -= 30; });  // 470
//             ledger.drain();

#include <atomic>
#include <coroutine>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "detail/awaitable.hpp"
#include "detail/lane.hpp"
#include "detail/waiter.hpp"

namespace interlock {

class serial_queue {
public:
  // Effects: makes an open queue. What is queued is done by a thread of its own (workers = 1), by
  //          the executor, or, without either, by the threads that call in.
  // Throws: std::invalid_argument for a capacity or quantum of 0, or a second way to do the work.
  explicit serial_queue(queue_options options = {});

  // Effects: close(), then drain(). Terminates if called by a task of this queue.
  ~serial_queue();

  // Effects: runs f, on this thread if the queue is idle, else in its turn while this thread waits.
  // Returns: what f returns. Throws: what f throws; system_error with resource_deadlock_would_occur
  // (called by a task of this queue), broken_pipe (closed) or operation_canceled.
  template <class F>
  std::invoke_result_t<F> run(F&& f) {
    return lane_.run(std::forward<F>(f));
  }

  // Effects: runs f on this thread if the queue is idle and open.
  // Returns: an optional with what f returned; true if that is void. Empty, false: busy or closed.
  template <class F>
  [[nodiscard("an empty answer means that f has not run")]] auto try_run(F&& f) {
    return lane_.try_run(std::forward<F>(f));
  }

  // Effects: has a copy of f run; at once and on this thread if the queue is idle and has neither
  //          worker nor executor. What the copy throws goes to on_error. A full queue refuses, or
  //          waits as run() does. A refused f may have been moved from.
  template <class F>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post(F&& f) {
    return lane_.post(std::forward<F>(f));
  }

  // Effects: co_await submit(f) runs f in its turn and suspends meanwhile. If f returns an
  //          awaitable, such as a task, the queue awaits that too and starts nothing else before.
  // Returns: what f, or its awaitable, returns. Throws: as run(), but does not detect self-waiting.
  template <class F>
  class submission;
  template <class F>
  submission<std::decay_t<F>> submit(F&& f) {
    return submission<std::decay_t<F>>(lane_, std::forward<F>(f));
  }

  // Effects: refuses all further work. What was accepted still runs.
  void close() noexcept { lane_.close(); }
  [[nodiscard]] bool closed() const noexcept { return lane_.closed(); }

  // Effects: blocks until all that was accepted before has ended.
  // Throws: system_error with resource_deadlock_would_occur if called by a task of this queue.
  void drain() { lane_.drain(); }

  // Effects: what was accepted before and has not started ends as cancelled, when its turn comes.
  void cancel_pending() noexcept { lane_.cancel_pending(); }

  [[nodiscard]] queue_stats stats() const noexcept { return lane_.stats(); }

private:
  void work();
  void call_worker(std::uint32_t what) noexcept;

  queue_options options_;
  detail::lane lane_{options_};

  // What the queue's own thread, if there is one, is called for. It resets this before it does it.
  static constexpr std::uint32_t nothing = 0;
  static constexpr std::uint32_t serve = 1;
  static constexpr std::uint32_t stop = 2;
  detail::park_word call_{nothing};
  std::thread worker_;
};

namespace detail {

// What submit(f) gives: f's result, or that of the awaitable which f returns.
template <class R>
struct submitted {
  using type = R;
  static constexpr bool awaits = false;
};
template <awaitable R>
struct submitted<R> {
  using type = await_result_t<R>;
  static constexpr bool awaits = true;
};

}  // namespace detail

// The node lives in the frame of the coroutine that awaits it.
template <class F>
class [[nodiscard("co_await it, or f never runs")]] serial_queue::submission : detail::work {
  using submitted = detail::submitted<std::invoke_result_t<F>>;
  using value = typename submitted::type;

public:
  template <class G>
  submission(detail::lane& lane, G&& f)
      : detail::work(kind::awaited, &perform_it), lane_(lane), function_(std::forward<G>(f)) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> coroutine) {
    waiting_.continuation = coroutine;
    return !lane_.submit(*this);
  }
  value await_resume() { return outcome_.take(); }

private:
  struct detached {
    struct promise_type {
      detached get_return_object() const noexcept { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
      void unhandled_exception() const noexcept { std::terminate(); }
    };
  };

  static detail::ending perform_it(work& self, const queue_options*, step what_to_do) noexcept {
    auto& node = static_cast<submission&>(self);
    if (what_to_do == step::resume) {
      node.waiting_.wake();
      return detail::ending::none;
    }
    if (what_to_do == step::cancel) {
      node.how_ = node.outcome_.cancel();
    } else if constexpr (submitted::awaits) {
      return node.start();
    } else {
      node.how_ = node.outcome_.run(std::move(*node.function_));
    }
    node.function_.reset();
    return node.how_;
  }

  // Returns: how the awaitable has ended, or suspended if it has not: then see await().
  detail::ending start() noexcept {
    try {
      await(*this);
    } catch (...) {
      return outcome_.run([]() -> value { throw; });
    }
    // order: acq_rel [submission.start] pairs with [submission.await]: the second of the two goes on
    return met_.exchange(true, std::memory_order_acq_rel) ? how_ : detail::ending::suspended;
  }

  static detached await(submission& node) {
    try {
      if constexpr (std::is_void_v<value>) {
        co_await std::invoke(std::move(*node.function_));
        node.how_ = node.outcome_.run([] {});
      } else {
        value got = co_await std::invoke(std::move(*node.function_));
        node.how_ = node.outcome_.run([&]() -> value { return std::forward<value>(got); });
      }
    } catch (...) {
      node.how_ = node.outcome_.run([]() -> value { throw; });
    }
    node.function_.reset();
    // order: acq_rel [submission.await] pairs with [submission.start]: the second of the two goes on
    if (node.met_.exchange(true, std::memory_order_acq_rel)) node.lane_.finish(node, node.how_);
  }

  detail::lane& lane_;
  detail::coroutine_waiter waiting_;
  std::optional<F> function_;  // destroyed as soon as it has run
  detail::result<value> outcome_;
  detail::ending how_ = detail::ending::none;
  std::atomic<bool> met_{false};
};

inline serial_queue::serial_queue(queue_options options)
    : options_(detail::checked(std::move(options), 1)) {
  if (options_.workers == 0) return;
  options_.executor = [this](const std::function<void()>&) { call_worker(serve); };
  worker_ = std::thread([this] { work(); });
}

inline serial_queue::~serial_queue() {
  close();
  if (worker_.get_id() == std::this_thread::get_id()) {
    detail::throw_error(std::errc::resource_deadlock_would_occur,
                        "interlock::~serial_queue: called on the queue's own worker, by a "
                        "coroutine that awaited it; let another thread destroy the queue");
  }
  drain();
  if (!worker_.joinable()) return;
  call_worker(stop);
  worker_.join();
}

inline void serial_queue::work() {
  const detail::inside here(&lane_);  // also for the coroutines that go on here, off the lane
  for (unsigned round = 0;; ++round) {
    // order: acquire [serial_queue.work] pairs with [serial_queue.call]: takes over the role of runner
    const std::uint32_t call = call_.exchange(nothing, std::memory_order_acquire);
    if (call == stop) return;
    if (call == serve) {
      lane_.serve_job();
      round = 0;
    } else if (round < detail::spin_rounds) {
      detail::spin_hint(round);
    } else {
      detail::park(call_, nothing);
    }
  }
}

inline void serial_queue::call_worker(std::uint32_t what) noexcept {
  const detail::park_word* const address = &call_;
  // order: release [serial_queue.call] pairs with [serial_queue.work]: hands over the role of runner
  call_.store(what, std::memory_order_release);
  detail::unpark_one(address);
}

}  // namespace interlock
