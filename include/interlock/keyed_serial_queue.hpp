// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/keyed_serial_queue.hpp - work in order for each key, side by side for different keys.
//
// Problem     The payments of one account must not overlap or overtake each other; those of other
//             accounts must not wait for them. A queue per account is memory that only grows.
// Guarantee   No two tasks of one key run at the same time. Queued tasks of a key run in the order
//             in which they were queued. Tasks of different keys run at the same time if there is a
//             thread for each. What a keyed task returns or throws reaches the caller of run. Every
//             accepted keyed task runs to its end unless it is cancelled. Keys without work are
//             forgotten.
// Progress    run, drain: blocking. try_run, post: a lock for a few instructions; without workers
//             and executor whoever finds the key idle does work, for others up to the quantum and
//             on until somebody waits who can take over: use workers where that matters.
// Cost        Key idle: run is a look-up and two short locks around your function. Allocates for a
//             queued post (the task), for what a copy of the key allocates, and for active keys
//             beyond the 16 spare entries that each of 32 shards keeps.
// Lifetime    The destructor closes and drains. The executor must outlive the queue and run what it
//             took.
// Not for     A handful of keys that never change: one serial_queue each is cheaper. Hash, Equal
//             and the copy of a key run under a lock and must not use the queue. Tasks that wait
//             for other keys in a circle, or on every worker: not detected, they hang. Without
//             workers, chains of posts through ever new keys: each nests inside the one before.
//
// Example     // examples/keyed_serial_queue.cpp
//             keyed_serial_queue<std::string> accounts({.workers = 2});
//             const auto debit = accounts.post("alice", [&] { alice -= 30; });
//             const auto credit = accounts.post("bob", [&] { bob += 30; });  // may run beside it
//             const int left = accounts.run("alice", [&] { return alice; });  // after the debit
//             accounts.drain();

#include <array>
#include <forward_list>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "detail/active_keys.hpp"
#include "detail/futex_mutex.hpp"

namespace interlock {

// Requirements: Key is copyable; Hash and Equal are as for std::unordered_map.
template <class Key, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class keyed_serial_queue {
public:
  // Effects: makes an open queue. options.capacity holds for each key, total_capacity for all keys.
  //          What is queued is run by `workers` threads of its own, by the executor, or, without
  //          either, by the threads that call run() and post().
  // Throws: std::invalid_argument for a capacity or quantum of 0, or a second way to run.
  explicit keyed_serial_queue(queue_options options = {}, std::size_t total_capacity = SIZE_MAX)
      : options_(detail::checked(std::move(options), SIZE_MAX)), total_capacity_(total_capacity) {
    if (total_capacity == 0) {
      throw std::invalid_argument(
          "interlock::keyed_serial_queue: a total capacity of 0 does no work; use at least 1");
    }
    crew_.start(options_.workers,
                [this](entry& e) { serve(e, nullptr, options_.quantum, ending::none); });
  }

  // Effects: close(), then drain(). Terminates if called by a task of this queue.
  ~keyed_serial_queue() {
    close();
    detail::inside::refuse_to_wait_for(this);
    for (shard& home : shards_) {
      for (std::unique_lock lock(home.mutex); !home.keys.empty(); lock.lock()) {
        // order: relaxed: written under the mutex that is held here
        const std::uint32_t seen = home.emptied.load(std::memory_order_relaxed);
        lock.unlock();
        detail::park(home.emptied, seen);
      }
    }
  }

  // Effects: runs f, on this thread if the key is idle, else in its turn while this thread waits.
  // Returns: what f returns. Throws: what f throws; system_error with resource_deadlock_would_occur
  // (called by a task of this key), broken_pipe (closed) or operation_canceled.
  template <class F>
  std::invoke_result_t<F> run(const Key& key, F&& f) {
    detail::refuse_coroutine<F>();
    if (entry* const mine = enter(key)) return run_here(*mine, std::forward<F>(f));
    detail::called_work<F> node(f);
    if (push_and_wait(key, node) == post_result::closed) detail::throw_closed();
    return node.outcome.take();
  }

  // Effects: runs f on this thread if the key is idle and the queue open.
  // Returns: an optional with what f returned; true if that is void. Empty, false: busy or closed.
  template <class F>
  [[nodiscard("an empty answer means that f has not run")]] auto try_run(const Key& key, F&& f) {
    detail::refuse_coroutine<F>();
    entry* const mine = enter(key);
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      if (mine != nullptr) run_here(*mine, std::forward<F>(f));
      return mine != nullptr;
    } else {
      using answer = std::optional<std::invoke_result_t<F>>;
      return mine != nullptr ? answer(run_here(*mine, std::forward<F>(f))) : answer();
    }
  }

  // Effects: has a copy of f run; at once, inside this call, if the key is idle and the queue has
  //          neither workers nor executor. What the copy throws goes to on_error. A full queue
  //          refuses, or waits as run() does. A refused f may have been moved from.
  template <class F>
  [[nodiscard("a full or closed queue refuses the task")]] post_result post(const Key& key, F&& f) {
    using task = std::decay_t<F>;
    detail::refuse_coroutine<task>();
    if (entry* const mine = elsewhere() ? nullptr : enter(key)) {
      turn now{*this, *mine};
      const detail::inside queue(this);
      const detail::inside lane(mine);
      task copy(std::forward<F>(f));
      now.how = detail::attempt(copy, options_);
      return post_result::accepted;
    }
    auto node = std::make_unique<detail::posted_work<task>>(std::forward<F>(f));
    const queued place = push(key, *node);
    if (place.result == post_result::full && options_.full == when_full::block) {
      node->what = work::kind::called;  // so this thread waits for it, and it needs no place
      return push_and_wait(key, *node);
    }
    if (place.result == post_result::accepted) node.release();  // it frees itself once it is done
    if (place.as_runner) serve(*place.lane, nullptr, help(), ending::none);
    return place.result;
  }

  // Effects: refuses all further work. What was accepted still runs.
  void close() noexcept {
    for (shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      home.closed = true;
    }
  }
  [[nodiscard]] bool closed() const noexcept {
    const std::lock_guard lock(shards_.back().mutex);
    return shards_.back().closed;
  }

  // Effects: blocks until all that was accepted before, for this key or for all, has ended.
  // Throws: system_error with resource_deadlock_would_occur if called by a task of this key, or,
  //         without a key, by any task of this queue.
  void drain(const Key& key) {
    work barrier(work::kind::barrier, nullptr);
    push_and_wait(key, barrier);
  }
  void drain() {
    detail::inside::refuse_to_wait_for(this);
    std::forward_list<detail::gathering::signal> signals;
    detail::gathering all;  // waits for the signals, also if their allocation fails
    for (shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      home.keys.for_each([&](entry& e) { e.push(signals.emplace_front(all)); });
    }
  }

  // Effects: what was accepted before and has not started ends as cancelled, when its turn comes.
  void cancel_pending() noexcept {
    for (shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      home.keys.for_each([](entry& e) {
        for (work* w = e.first; w != nullptr; w = w->next) w->generation = 1;
      });
    }
  }

  [[nodiscard]] queue_stats stats() const noexcept {
    queue_stats sum;
    for (const shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      sum.accepted += home.numbers.accepted;
      sum.completed += home.numbers.completed;
      sum.failed += home.numbers.failed;
      sum.cancelled += home.numbers.cancelled;
    }
    return sum;
  }

  // Returns: how many keys had work a moment ago.
  [[nodiscard]] std::size_t active_keys_approx() const noexcept {
    std::size_t sum = 0;
    for (const shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      sum += home.keys.size();
    }
    return sum;
  }

private:
  using work = detail::work;
  using ending = detail::ending;
  using entry = detail::active_key<Key>;

  // The keys of a shard that have a runner. Its mutex protects them and all that they hold, but
  // for work that was popped: that is the runner's.
  struct alignas(64) shard {
    mutable detail::futex_mutex mutex;
    detail::park_word emptied{0};  // counts how often it lost its last key
    bool closed = false;
    queue_stats numbers;
    detail::active_keys<Key, Equal> keys;
  };

  // The role of runner of a key that was idle, for one task that is not queued.
  struct turn {
    ~turn() {
      if (how == ending::none) queue.discount(mine);  // the task could not even be copied
      queue.serve(mine, nullptr, queue.help(), how);
    }
    keyed_serial_queue& queue;
    entry& mine;
    ending how = ending::none;
  };

  struct queued {
    post_result result;
    entry* lane = nullptr;   // may be gone unless as_runner or this thread waits in it
    bool as_runner = false;  // the key was idle: now this thread has to serve it
  };

  shard& home_of(std::uint64_t hash) noexcept { return shards_[hash >> (64 - shard_bits)]; }

  // Whether somebody else than the callers does the queued work, and how much these then do.
  bool elsewhere() const noexcept { return options_.executor || options_.workers != 0; }
  std::uint32_t help() const noexcept { return elsewhere() ? 0 : options_.quantum; }

  // Returns: the entry of a key that was idle: this thread is its runner now. Else nullptr.
  entry* enter(const Key& key) {
    const std::uint64_t hash = detail::mixed(hash_(key));
    shard& home = home_of(hash);
    const std::lock_guard lock(home.mutex);
    if (home.closed || home.keys.find(hash, key, equal_) != nullptr) return nullptr;
    entry& fresh = home.keys.insert(hash, key);
    ++home.numbers.accepted;
    return &fresh;
  }

  void discount(const entry& e) noexcept {
    shard& home = home_of(e.hash);
    const std::lock_guard lock(home.mutex);
    --home.numbers.accepted;
  }

  template <class F>
  std::invoke_result_t<F> run_here(entry& mine, F&& f) {
    turn now{*this, mine, ending::completed};
    const detail::inside queue(this);
    const detail::inside lane(&mine);
    try {
      return std::invoke(std::forward<F>(f));
    } catch (...) {
      now.how = ending::failed;
      throw;
    }
  }

  queued push(const Key& key, work& w) {
    const bool barrier = w.what == work::kind::barrier;
    const std::uint64_t hash = detail::mixed(hash_(key));
    shard& home = home_of(hash);
    const std::lock_guard lock(home.mutex);
    entry* e = home.keys.find(hash, key, equal_);
    const bool idle = e == nullptr;
    if (barrier ? idle : home.closed) return {post_result::closed};
    if (idle) e = &home.keys.insert(hash, key);
    if (w.has_thread()) detail::inside::refuse_to_wait_for(e);
    if (w.what == work::kind::posted && !take_place(*e)) {
      if (idle) home.keys.erase(*e);
      return {post_result::full};
    }
    if (!barrier) ++home.numbers.accepted;
    e->push(w);
    return {post_result::accepted, e, idle};
  }

  post_result push_and_wait(const Key& key, work& node) {
    const queued place = push(key, node);
    if (place.as_runner) serve(*place.lane, &node, help(), ending::none);
    if (place.result != post_result::accepted) return place.result;
    while (node.wait_for_role()) serve(*place.lane, &node, help(), ending::none);
    return place.result;
  }

  bool take_place(const entry& e) noexcept {
    if (e.posts >= options_.capacity) return false;
    // order: relaxed: a guess that the exchange below verifies
    std::size_t taken = places_taken_.load(std::memory_order_relaxed);
    do {
      if (taken >= total_capacity_) return false;
      // order: relaxed/relaxed: a number only
    } while (!places_taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed,
                                                  std::memory_order_relaxed));
    return true;
  }
  void free_place() noexcept {
    // order: relaxed: a number only
    places_taken_.fetch_sub(1, std::memory_order_relaxed);
  }

  // Preconditions: this thread is the key's runner, and something of the key has just ended like
  // `how`. It stays the runner until `own` is done and the budget is spent on others, or until
  // there is no more work; then the key's entry may be gone.
  void serve(entry& e, work* own, std::uint32_t budget, ending how) noexcept {
    for (work* finished = nullptr;;) {
      if (finished == own) own = nullptr;
      const step now = advance(e, how, own == nullptr && budget == 0);
      if (finished != nullptr) finished->tell(work::done);
      if (now.heir != nullptr) now.heir->tell(work::role);
      if (now.next == nullptr && !(now.reschedule && !schedule(e))) return;
      if (now.next == nullptr) {  // the executor failed: do one task here and ask it again
        finished = nullptr;
        how = ending::none;
        budget = 1;
        continue;
      }
      finished = now.next->has_thread() ? now.next : nullptr;
      how = perform(e, *now.next);
      if (own == nullptr && budget != 0) --budget;
    }
  }

  struct step {  // one of these, or nothing: then the runner has left
    work* next = nullptr;
    work* heir = nullptr;
    bool reschedule = false;
  };

  step advance(entry& e, ending how, bool spent) noexcept {
    shard& home = home_of(e.hash);
    {
      const std::lock_guard lock(home.mutex);
      detail::count(home.numbers, how);
      if (e.first != nullptr) {
        if (spent && elsewhere()) return {nullptr, nullptr, true};
        if (spent && e.threads != 0) return {nullptr, &e.first_with_thread()};
        return {&e.pop()};
      }
      home.keys.erase(e);
      if (!home.closed || !home.keys.empty()) return {};
      // order: relaxed: the mutex orders it for the destructor, which alone reads it
      home.emptied.fetch_add(1, std::memory_order_relaxed);
    }
    detail::unpark_all(&home.emptied);
    return {};
  }

  ending perform(const entry& e, work& w) noexcept {
    if (w.what == work::kind::barrier) return ending::none;
    if (w.what == work::kind::posted) free_place();
    const detail::inside queue(this);
    const detail::inside lane(&e);
    return w.perform(w, &options_, w.generation == 0 ? work::step::run : work::step::cancel);
  }

  // Returns: false if nobody takes the key, so that this thread is still its runner.
  bool schedule(entry& e) noexcept {
    if (!options_.executor) {
      crew_.schedule(e);
      return true;
    }
    try {
      const auto executor = options_.executor;  // ours may go with the queue while it is called
      e.queue = this;
      executor.execute({&actions, &e});
      return true;
    } catch (...) {
      detail::report_error(options_);
      return false;
    }
  }

  static void run_job(void* key) noexcept {
    auto& e = *static_cast<entry*>(key);
    auto& self = *static_cast<keyed_serial_queue*>(e.queue);
    self.serve(e, nullptr, self.options_.quantum, ending::none);
  }
  static constexpr detail::job_actions actions{&run_job, nullptr};

  static constexpr unsigned shard_bits = 5;

  const queue_options options_;
  const std::size_t total_capacity_;
  const Hash hash_{};
  const Equal equal_{};
  std::atomic<std::size_t> places_taken_{0};
  std::array<shard, (1U << shard_bits)> shards_;

  detail::crew<entry> crew_;
};

}  // namespace interlock
