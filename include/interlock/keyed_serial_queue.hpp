// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/keyed_serial_queue.hpp - work in order for each key, side by side for different keys.
//
// Problem     The payments of one account must not overlap or overtake each other; those of other
//             accounts must not wait for them. A queue per account is memory that only grows.
// Guarantee   No two tasks of one key run at the same time. Queued tasks of a key run in the order
//             in which they were queued. Tasks of different keys run at the same time if there is a
//             thread for each. What a keyed task returns or throws reaches the caller of run or
//             submit. Every accepted keyed task runs to its end unless it is cancelled. Keys
//             without work are forgotten.
// Progress    run, drain, post_wait: blocking. try_run, post, submit: a lock for a few
//             instructions, spinning. Without workers and executor whoever finds the key idle does
//             work, for others up to the quantum and on until somebody waits who can take over: use
//             workers where that matters.
// Cost        Key idle: two exchanges of a byte around your function, no copy of the key. A queued
//             post allocates nothing once its thread has blocks, for keys of 8 bytes and captures
//             of 48; a larger key goes with its task, and both to the heap. 4.5 KB an object.
// Lifetime    The destructor closes and drains. The executor must outlive the queue and run what it
//             took. The key that run or drain is given stays as it is until they return. A
//             coroutine must not be destroyed while its task runs, nor destroy the queue on a
//             thread that works for it. What a task has captured must not wait for the queue in its
//             destructor.
// Resumes on  The thread that ran the task, once it has left that key, and before the call that it
//             was in returns; or where .resume_on(executor) puts it.
// Cancellation By a stop token or a deadline, before the task begins: it leaves the line, and its
//             place is free, at once. cancel_pending() does that to all that has not begun.
// Not for     A handful of keys that never change: one serial_queue each is cheaper. Equal runs
//             under a lock and must not use the queue. A coroutine of a framework whose promises
//             do not say who awaits them, or one that blocks its thread: that it waits for a key
//             that it holds is not seen, and hangs.
//
// Example     // examples/keyed_serial_queue.cpp
//             keyed_serial_queue<std::string> accounts({.workers = 2});
//             const auto debit = accounts.post("alice", [&] { alice -= 30; });
//             const auto credit = accounts.post("bob", [&] { bob += 30; });  // may run beside it
//             const int left = accounts.run("alice", [&] { return alice; });  // after the debit
//             accounts.drain();

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/key_calls.hpp"
#include "detail/key_posting.hpp"
#include "detail/key_submission.hpp"
#include "worker_pool.hpp"

namespace interlock {

// What a keyed queue takes at most, beside options.capacity, which is for each key.
struct keyed_bounds {
  std::size_t total = SIZE_MAX;  // posted tasks that may wait in line, of all keys together
  std::size_t keys = SIZE_MAX;   // keys that have work; a post for one more is refused
};

// Requirements: Key is copyable; Hash and Equal are as for std::unordered_map.
//
// A refusal is a value or, where a call gives what f gives, a std::system_error: broken_pipe
// (closed), operation_canceled (cancel_pending). resource_deadlock_would_occur is always thrown: by
// a task that waits for its own key, or for one whose task waits, in any number of steps, for what
// the first one holds. Steps are waits for keys and for serial queues, of threads inside of tasks
// and of coroutines that such a queue awaits: tasks (see task.hpp) and others whose promises have
// for_each_caller(). Of the options, `strict` changes nothing: run() always queues at once.
template <class Key, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class keyed_serial_queue {
  using lanes = detail::key_lanes<Key, Hash, Equal>;
  template <class F, bool Ends>
  using submission = detail::key_submission<lanes, Key, std::decay_t<F>, Ends>;
  template <class F>
  using posting = detail::key_posting<lanes, Key, std::decay_t<F>>;
  template <class Place, class... Ends>
  using wait = detail::waiting<Place, detail::by_trampoline, Ends...>;

public:
  using time_point = std::chrono::steady_clock::time_point;

  // How much work a key has, the running task not counted.
  struct key_depth {
    Key key;
    std::size_t depth;
  };

  // Effects: makes an open queue. What is queued is done by `workers` threads of its own, by jobs
  //          of the executor, or, without either, by the threads that call run() and post().
  // Throws: std::invalid_argument for a capacity, quantum or bound of 0, or a second way to run.
  explicit keyed_serial_queue(queue_options options = {}, keyed_bounds bounds = {});

  // Effects: close(), then drain(). Terminates if called by a task of this queue.
  ~keyed_serial_queue();

  keyed_serial_queue(const keyed_serial_queue&) = delete;
  keyed_serial_queue& operator=(const keyed_serial_queue&) = delete;

  // ---- the caller waits

  // Effects: runs f, on this thread if the key is idle, else in its turn while this thread waits.
  // Returns: what f returns. Throws: what f throws; a refusal.
  template <class F>
  std::invoke_result_t<F> run(const Key& key, F&& f) {
    return detail::run_for_key(lanes_, key, std::forward<F>(f));
  }
  // Effects: the same, until a stop is requested or the deadline has passed before f has begun.
  // Returns: what f returned, or why it has not run. Throws: what f throws.
  template <class F, detail::stop_token_like Stop>
  run_result<std::invoke_result_t<F>> run(const Key& key, F&& f, const Stop& stop) {
    return detail::run_for_key_ending(lanes_, key, std::forward<F>(f), nullptr, stop);
  }
  template <class F, detail::stop_token_like Stop = detail::never_stopped>
  run_result<std::invoke_result_t<F>> run_until(time_point deadline, const Key& key, F&& f,
                                                const Stop& stop = {}) {
    return detail::run_for_key_ending(lanes_, key, std::forward<F>(f), &deadline, stop);
  }

  // Effects: runs f on this thread if the key is idle and open.
  // Returns: an optional with what f returned; true if that is void. Empty, false: busy or closed.
  template <class F>
  [[nodiscard("an empty answer means that f has not run")]] auto try_run(const Key& key, F&& f) {
    return detail::try_run_for_key(lanes_, key, std::forward<F>(f));
  }

  // ---- nobody waits

  // Effects: has a copy of f run; at once, inside this call, if the key is idle, the queue has
  //          neither workers nor executor, and this is no task of the queue: then it runs when the
  //          tasks of this thread have ended. What the copy throws goes to on_error. Where it is
  //          full options.full says what happens. A refused f may be moved from.
  // Throws: std::invalid_argument if f is empty (a std::function, a pointer).
  template <class F>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post(const Key& key, F&& f) {
    return detail::post_for_key(lanes_, key, std::forward<F>(f));
  }
  // Effects: the same, unless a stop is requested before f begins: then f is destroyed on the
  //          thread that requests it, and its place is free.
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post(const Key& key, F&& f,
                                                                           const Stop& stop) {
    return detail::post_for_key_stoppable(lanes_, key, std::forward<F>(f), stop);
  }
  // Effects: the same for what may be left out where options.full is drop_oldest: one that comes
  //          later, of the same key, takes the place of the oldest of those that were posted so.
  template <class F>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post_droppable(
      const Key& key, F&& f) {
    return detail::post_for_key(lanes_, key, std::forward<F>(f), true);
  }

  // Effects: as post(key, f), but blocks until there is a place, whatever options.full says, or
  //          until the deadline or the stop, which end that wait alone. If f has its turn before
  //          there is a place, this returns when f has run.
  template <class F>
  [[nodiscard("a closed queue refuses the task")]] post_result post_wait(const Key& key, F&& f) {
    return detail::post_for_key_waiting(lanes_, key, std::forward<F>(f), nullptr);
  }
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("the task may have been refused")]] post_result post_wait(const Key& key, F&& f,
                                                                       const Stop& stop) {
    return detail::post_for_key_waiting(lanes_, key, std::forward<F>(f), nullptr, stop);
  }
  template <class F, detail::stop_token_like Stop = detail::never_stopped>
  [[nodiscard("the task may have been refused")]] post_result post_wait_until(
      time_point deadline, const Key& key, F&& f, const Stop& stop = {}) {
    return detail::post_for_key_waiting(lanes_, key, std::forward<F>(f), &deadline, stop);
  }
  // Effects: co_await async_post(key, f) is the same for a coroutine. Returns: a post_result.
  template <class F>
  [[nodiscard("write co_await")]] auto async_post(const Key& key, F&& f) {
    return wait<posting<F>>(posting_of(key, std::forward<F>(f)));
  }
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("write co_await")]] auto async_post(const Key& key, F&& f, Stop stop) {
    using stopped = detail::stop_end<Stop>;
    return wait<posting<F>, stopped>(posting_of(key, std::forward<F>(f)), {},
                                     stopped{std::move(stop)});
  }
  template <timer Timer, class F>
  [[nodiscard("write co_await")]] auto async_post_until(Timer& timer,
                                                        typename Timer::time_point deadline,
                                                        const Key& key, F&& f) {
    using late = detail::deadline_end<Timer>;
    return wait<posting<F>, late>(posting_of(key, std::forward<F>(f)), {}, late{&timer, deadline});
  }

  // ---- the result comes later

  // Effects: co_await submit(key, f) runs f in its turn and suspends meanwhile. If f returns an
  //          awaitable, such as a task, the key is held until that is done: nothing else starts.
  // Returns: what f, or its awaitable, returns. Throws: what that throws; a refusal.
  template <class F>
  [[nodiscard("co_await it, or f never runs")]] auto submit(Key key, F&& f) {
    return wait<submission<F, false>>(request<F, false>(std::move(key), f));
  }
  // Effects: the same, until a stop is requested, or the deadline, before f has begun.
  // Returns: a run_result of that. Throws: what f, or its awaitable, throws.
  template <class F, detail::stop_token_like Stop>
  [[nodiscard("co_await it, or f never runs")]] auto submit(Key key, F&& f, Stop stop) {
    using stopped = detail::stop_end<Stop>;
    return wait<submission<F, true>, stopped>(request<F, true>(std::move(key), f), {},
                                              stopped{std::move(stop)});
  }
  template <timer Timer, class F>
  [[nodiscard("co_await it, or f never runs")]] auto submit_until(
      Timer& timer, typename Timer::time_point deadline, Key key, F&& f) {
    using late = detail::deadline_end<Timer>;
    return wait<submission<F, true>, late>(request<F, true>(std::move(key), f), {},
                                           late{&timer, deadline});
  }
  template <timer Timer, class F, detail::stop_token_like Stop>
  [[nodiscard("co_await it, or f never runs")]] auto submit_until(
      Timer& timer, typename Timer::time_point deadline, Key key, F&& f, Stop stop) {
    using stopped = detail::stop_end<Stop>;
    using late = detail::deadline_end<Timer>;
    return wait<submission<F, true>, stopped, late>(request<F, true>(std::move(key), f), {},
                                                    stopped{std::move(stop)},
                                                    late{&timer, deadline});
  }

  // Effects: as post(key, f). Returns: a std::future of what f returns, throws or, cancelled, of
  //          that. Throws: a refusal; resource_unavailable_try_again if the queue is full.
  template <class F>
  [[nodiscard("the future holds what f throws")]] auto submit_future(const Key& key, F&& f) {
    return detail::submit_future_for_key(lanes_, key, std::forward<F>(f));
  }

  // ---- the end, of a key or of all

  // Effects: refuses all further work, and all who wait for a place. What was accepted still runs.
  void close() noexcept { lanes_.close(); }
  [[nodiscard]] bool closed() const noexcept { return lanes_.closed(); }
  // Effects: the same for a key, until it is opened again; it is remembered meanwhile.
  void close(const Key& key) { lanes_.close(key); }
  void reopen(const Key& key) noexcept { lanes_.reopen(key); }
  [[nodiscard]] bool closed(const Key& key) const { return lanes_.closed(key); }

  // Effects: blocks until all that was accepted before, for this key or for all, has ended.
  // Throws: system_error with resource_deadlock_would_occur if called by a task of this key, or,
  //         without a key, by any task of this queue; or if it would close a circle, as run().
  void drain(const Key& key) { detail::drain_key(lanes_, key); }
  void drain() { detail::drain_keys(lanes_); }
  // Returns: false if that has not ended by the deadline. Throws: as drain().
  [[nodiscard("work may be left")]] bool drain_until(time_point deadline, const Key& key) {
    return detail::drain_key_until(lanes_, key, deadline);
  }
  [[nodiscard("work may be left")]] bool drain_until(time_point deadline) {
    return detail::drain_keys(lanes_, &deadline);
  }

  // Effects: what was accepted before, for this key or for all, and has not begun is over: the
  //          functions are destroyed, and who waits is told, in order, before this returns.
  void cancel_pending(const Key& key) noexcept { lanes_.cancel(key); }
  void cancel_pending() noexcept { lanes_.cancel(); }

  // ---- numbers

  [[nodiscard]] queue_stats stats() const noexcept { return lanes_.stats(); }
  // Returns: what was measured, of all keys together; all 0 without options.metrics.
  // Complexity: the keys that have work, each for a moment under a lock.
  [[nodiscard]] queue_metrics metrics() const noexcept { return lanes_.metrics(); }
  // Returns: how many keys had work a moment ago.
  [[nodiscard]] std::size_t active_keys_approx() const noexcept { return lanes_.active_keys(); }
  // Returns: how much of this key waited a moment ago, for its turn or for a place, the running
  //          task not counted.
  [[nodiscard]] std::size_t depth_approx(const Key& key) const { return lanes_.depth(key); }
  // Returns: the keys with most work waiting, most first, up to so many.
  [[nodiscard]] std::vector<key_depth> deepest_approx(std::size_t most) const;

private:
  template <class F, bool Ends>
  auto request(Key key, F& f) {
    const std::uint32_t hash = lanes_.hash_of(key);
    return typename submission<F, Ends>::request{&lanes_, std::move(key), std::forward<F>(f), hash};
  }

  template <class F>
  auto posting_of(const Key& key, F&& f) {
    detail::refuse_coroutine<std::decay_t<F>>();
    detail::refuse_nothing(f);
    using posted = detail::posted_key_work<Key, std::decay_t<F>>;
    return typename posting<F>::request{
        &lanes_, detail::make_post<posted>(key, lanes_.hash_of(key), std::forward<F>(f))};
  }

  static std::uint32_t most_jobs(const queue_options& options) noexcept {
    constexpr std::size_t no_limit = std::uint32_t{1} << 29;
    return static_cast<std::uint32_t>(
        options.workers == 0 ? no_limit : std::min(options.workers, no_limit));
  }
  any_executor crew_of(const queue_options& options) {
    if (options.workers == 0) return options.executor;
    pool_.emplace(worker_pool_options{.threads = options.workers});
    return *pool_;
  }

  const queue_options options_;
  std::optional<worker_pool> pool_;  // goes last: jobs that come too late find the gate closed
  lanes lanes_;
};

// ------------------------------------------------------------------------------------------------

template <class Key, class Hash, class Equal>
keyed_serial_queue<Key, Hash, Equal>::keyed_serial_queue(queue_options options, keyed_bounds bounds)
    : options_(detail::checked(std::move(options), SIZE_MAX)),
      lanes_(options_, detail::checked_limits(options_.capacity, bounds.total, bounds.keys),
             crew_of(options_), most_jobs(options_), options_.workers != 0) {}

template <class Key, class Hash, class Equal>
keyed_serial_queue<Key, Hash, Equal>::~keyed_serial_queue() {
  close();
  if (lanes_.is_own_thread()) {
    detail::misuse(
        "~keyed_serial_queue: called by a task of this queue, or on a thread that works for it, "
        "which would wait for itself; let another thread destroy the queue");
  }
  lanes_.wait_until_gone();
}

template <class Key, class Hash, class Equal>
auto keyed_serial_queue<Key, Hash, Equal>::deepest_approx(std::size_t most) const
    -> std::vector<key_depth> {
  std::vector<key_depth> all;
  lanes_.each_depth([&](const Key& key, std::size_t depth) {
    if (depth != 0) all.push_back({key, depth});
  });
  const auto deeper = [](const key_depth& a, const key_depth& b) { return a.depth > b.depth; };
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(most, all.size()));
  std::partial_sort(all.begin(), end, all.end(), deeper);
  all.erase(end, all.end());
  return all;
}

}  // namespace interlock
