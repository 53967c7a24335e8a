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
// Progress    run, drain, post_wait: blocking. try_run: never waits. post, submit: lock-free, but
//             post waits up to 10 ms for the end of a task where a runner has done its quantum. No
//             worker and no executor: whoever finds the queue idle does work, for others up to the
//             quantum and on until somebody comes: use a worker where that matters.
// Cost        Idle: run and post are two CAS around your function. Busy: one CAS, and a lock for
//             what may end early. Tasks of up to 64 bytes allocate nothing once the threads have
//             blocks (see detail/block_cache.hpp). A coroutine that submit runs: a frame.
// Lifetime    The destructor closes and drains. The executor must outlive the queue and run what it
//             took. A blocking call must have returned. A coroutine must not be destroyed while its
//             task is queued, but for one with a stop or a deadline, nor destroy the queue on its
//             worker. What a task has captured must not wait for the queue in its destructor.
// Resumes on  The thread that ran the task, once it is no longer the queue's runner, and before the
//             call that it was in returns; or where .resume_on(executor) puts it. On the queue's
//             worker, who would wait for the queue gets the error, as in a task.
// Cancellation By a stop token or a deadline, before the task begins: it leaves the line, and its
//             place is free, at once. cancel_pending() ends what has not started, in its turn.
// Not for     A caller that holds a lock which tasks take. Not seen, and so a hang: a coroutine
//             that the queue awaits waits for the queue by a blocking call, or awaits it and
//             belongs to a framework whose promises do not say who awaits them.
//
// Example     serial_queue ledger;  // examples/serial_queue.cpp
//             const auto posted = ledger.post([&] { balance += 500; });    // fire and forget
//             const int left = ledger.run([&] { return balance -= 30; });  // 470
//             ledger.drain();

#include <chrono>
#include <thread>
#include <utility>

#include "detail/queue_calls.hpp"
#include "detail/queue_submission.hpp"

namespace interlock {

// A refusal is a value or, where a call gives what f gives, a std::system_error: broken_pipe
// (closed), operation_canceled (cancel_pending), resource_deadlock_would_occur. That last one is
// always thrown: by a task that waits for its own queue, or for a task of another queue that waits,
// in any number of steps, for this one; and by a coroutine that a queue awaits, if it and those in
// between are tasks (see task.hpp) or others whose promises have for_each_caller().
class serial_queue {
  using time_point = std::chrono::steady_clock::time_point;
  template <class Place, class... Ends>
  using wait = detail::waiting<Place, detail::by_trampoline, Ends...>;
  template <class F, bool MayLeave>
  using submission = detail::submission_place<std::decay_t<F>, MayLeave>;
  template <class F>
  using posting = detail::posting_place<std::decay_t<F>>;

public:
  // Effects: makes an open queue. What is queued is done by a thread of its own (workers = 1), by
  //          the executor, or, without either, by the threads that call in.
  // Throws: std::invalid_argument for a capacity or quantum of 0, or a second way to do the work.
  explicit serial_queue(queue_options options = {});
  serial_queue(const serial_queue&) = delete;
  serial_queue& operator=(const serial_queue&) = delete;

  // Effects: close(), then drain(). Terminates if called by a task of this queue.
  ~serial_queue();

  // ---- the caller waits

  // Effects: runs f, on this thread if the queue is idle, else in its turn while this thread waits.
  // Returns: what f returns. Throws: what f throws; a refusal.
  template <class F>
  std::invoke_result_t<F> run(F&& f) {
    return lane_.run(std::forward<F>(f));
  }
  // Effects: the same, until a stop is requested or the deadline has passed before f has begun.
  // Returns: what f returned, or why it has not run. Throws: what f throws.
  template <class F, detail::stop_token_like Stop>
  run_result<std::invoke_result_t<F>> run(F&& f, const Stop& stop) {
    return detail::run_ending(lane_, std::forward<F>(f), nullptr, stop);
  }
  template <class F, detail::stop_token_like Stop = detail::never_stopped>
  run_result<std::invoke_result_t<F>> run_until(time_point deadline, F&& f, const Stop& stop = {}) {
    return detail::run_ending(lane_, std::forward<F>(f), &deadline, stop);
  }

  // Effects: runs f on this thread if the queue is idle and open.
  // Returns: an optional with what f returned; true if that is void. Empty, false: busy or closed.
  template <class F>
  [[nodiscard("an empty answer means that f has not run")]] auto try_run(F&& f) {
    return lane_.try_run(std::forward<F>(f));
  }

  // ---- nobody waits

  // Effects: has a copy of f run; at once and on this thread if the queue is idle and has neither
  //          worker nor executor. What the copy throws goes to on_error. Beyond the capacity
  //          options.full says what happens. A refused f may have been moved from.
  // Throws: std::invalid_argument if f is empty (a std::function, a pointer).
  template <class F>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post(F&& f) {
    return lane_.post(std::forward<F>(f));
  }
  // Effects: the same, unless a stop is requested before f begins: then f is destroyed on the
  //          thread that requests it, and its place is free.
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post(F&& f,
                                                                           const Stop& stop) {
    return detail::post_stoppable(lane_, std::forward<F>(f), stop);
  }
  // Effects: the same for what may be left out where options.full is drop_oldest: one that comes
  //          later takes the place of the oldest of those that were posted so.
  template <class F>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post_droppable(F&& f) {
    return detail::post_droppable(lane_, std::forward<F>(f));
  }

  // Effects: as post(f), but blocks until there is a place, whatever options.full says, or until
  //          the deadline or the stop, which end that wait alone.
  template <class F>
  [[nodiscard("a closed queue refuses the task")]] post_result post_wait(F&& f) {
    return detail::post_wait(lane_, std::forward<F>(f), nullptr);
  }
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("the task may have been refused")]] post_result post_wait(F&& f, const Stop& stop) {
    return detail::post_wait(lane_, std::forward<F>(f), nullptr, stop);
  }
  template <class F, detail::stop_token_like Stop = detail::never_stopped>
  [[nodiscard("the task may have been refused")]] post_result post_wait_until(
      time_point deadline, F&& f, const Stop& stop = {}) {
    return detail::post_wait(lane_, std::forward<F>(f), &deadline, stop);
  }
  // Effects: co_await async_post(f) is the same for a coroutine. Returns: a post_result.
  template <class F>
  [[nodiscard("write co_await")]] auto async_post(F&& f) {
    return wait<posting<F>>({&lane_, std::forward<F>(f)});
  }
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("write co_await")]] auto async_post(F&& f, Stop stop) {
    using stopped = detail::stop_end<Stop>;
    return wait<posting<F>, stopped>({&lane_, std::forward<F>(f)}, {}, stopped{std::move(stop)});
  }
  template <timer Timer, class F>
  [[nodiscard("write co_await")]] auto async_post_until(Timer& timer,
                                                        typename Timer::time_point deadline,
                                                        F&& f) {
    using late = detail::deadline_end<Timer>;
    return wait<posting<F>, late>({&lane_, std::forward<F>(f)}, {}, late{&timer, deadline});
  }

  // ---- the result comes later

  // Effects: co_await submit(f) runs f in its turn and suspends meanwhile. If f returns an
  //          awaitable, such as a task, the queue awaits that too and starts nothing else before.
  // Returns: what f, or its awaitable, returns. Throws: what that throws; a refusal.
  template <class F>
  [[nodiscard("co_await it, or f never runs")]] auto submit(F&& f) {
    return wait<submission<F, false>>({&lane_, std::forward<F>(f)});
  }
  // Effects: the same, until a stop is requested, or the deadline, before f has begun.
  // Returns: a run_result of that. Throws: what f, or its awaitable, throws.
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("co_await it, or f never runs")]] auto submit(F&& f, Stop stop) {
    using stopped = detail::stop_end<Stop>;
    return wait<submission<F, true>, stopped>({&lane_, std::forward<F>(f)}, {},
                                              stopped{std::move(stop)});
  }
  template <timer Timer, class F>
  [[nodiscard("co_await it, or f never runs")]] auto submit_until(
      Timer& timer, typename Timer::time_point deadline, F&& f) {
    using late = detail::deadline_end<Timer>;
    return wait<submission<F, true>, late>({&lane_, std::forward<F>(f)}, {},
                                           late{&timer, deadline});
  }
  template <timer Timer, class F, detail::stop_token_like Stop>
  [[nodiscard("co_await it, or f never runs")]] auto submit_until(
      Timer& timer, typename Timer::time_point deadline, F&& f, Stop stop) {
    using stopped = detail::stop_end<Stop>;
    using late = detail::deadline_end<Timer>;
    return wait<submission<F, true>, stopped, late>({&lane_, std::forward<F>(f)}, {},
                                                    stopped{std::move(stop)},
                                                    late{&timer, deadline});
  }
  // Effects: the other mode. co_await interleaved() goes on in the coroutine's turn as a task of
  //          the queue, until the coroutine suspends: at its next co_await others are let in, and
  //          behind that it is outside, until it awaits this again. Throws: a refusal.
  [[nodiscard("write co_await")]] auto interleaved() noexcept {
    return detail::interleaving(lane_);
  }
  // Effects: as post(f). Returns: a std::future of what f returns, throws or, cancelled, of that.
  // Throws: a refusal; resource_unavailable_try_again if the queue is full.
  template <class F>
  [[nodiscard("the future holds what f throws")]] auto submit_future(F&& f) {
    return detail::submit_future(lane_, std::forward<F>(f));
  }

  // ---- the end, and numbers

  // Effects: refuses all further work, and all who wait for room. What was accepted still runs.
  void close() noexcept { lane_.close(); }
  [[nodiscard]] bool closed() const noexcept { return lane_.closed(); }

  // Effects: blocks until all that was accepted before has ended.
  // Throws: system_error with resource_deadlock_would_occur if called by a task of this queue.
  void drain() { lane_.drain(); }
  // Returns: false if that has not ended by the deadline. Throws: as drain().
  [[nodiscard("work may be left")]] bool drain_until(time_point deadline) {
    return detail::drain_until(lane_, deadline);
  }

  // Effects: what was accepted before and has not started ends as cancelled, when its turn comes.
  void cancel_pending() noexcept { lane_.cancel_pending(); }

  [[nodiscard]] queue_stats stats() const noexcept { return lane_.stats(); }
  // Returns: what was measured; all 0 without options.metrics.
  [[nodiscard]] queue_metrics metrics() const noexcept { return lane_.metrics(); }

private:
  void work();
  void call_worker(std::uint32_t what) noexcept;

  detail::queue_lane lane_;

  // What the queue's own thread, if there is one, is called for. It resets this before it does it.
  static constexpr std::uint32_t nothing = 0;
  static constexpr std::uint32_t serve = 1;
  static constexpr std::uint32_t end = 2;
  static constexpr std::uint32_t asleep = 3;  // nothing, and it has to be woken
  detail::park_word call_{nothing};
  std::thread worker_;
};

// ------------------------------------------------------------------------------------------------

inline serial_queue::serial_queue(queue_options options)
    : lane_(detail::checked(std::move(options), 1)) {
  if (lane_.options().workers == 0) return;
  lane_.use([this](auto&&) noexcept { call_worker(serve); });
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
  call_worker(end);
  worker_.join();
}

inline void serial_queue::work() {
  const detail::inside here(lane_.identity());  // also for coroutines that go on here, off the lane
  for (unsigned round = 0;;) {
    // order: acquire [serial_queue.look] pairs with [serial_queue.call]: takes over the role of runner
    std::uint32_t call = call_.load(std::memory_order_acquire);
    if (call == end) return;
    if (call == serve) {
      // order: relaxed: nobody calls before this thread has given up the role
      call_.store(nothing, std::memory_order_relaxed);
      lane_.serve_and_watch();
      round = 0;
    } else if (round < detail::spin_rounds) {
      detail::spin_hint(round++);
    } else {
      // order: relaxed/relaxed: announces the sleep; a call that came first is read above
      call_.compare_exchange_strong(call, asleep, std::memory_order_relaxed,
                                    std::memory_order_relaxed);
      detail::park(call_, asleep);
    }
  }
}

inline void serial_queue::call_worker(std::uint32_t what) noexcept {
  const detail::park_word* const address = &call_;
  // order: release [serial_queue.call] pairs with [serial_queue.look]: hands over the role of runner
  const bool sleeps = call_.exchange(what, std::memory_order_release) == asleep;
  if (sleeps) detail::unpark_one(address);
}

}  // namespace interlock
