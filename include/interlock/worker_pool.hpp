// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/worker_pool.hpp - a few threads that run what they are given, for who has no executor.
//
// Problem     Coroutines and queues want an executor; a program without an event loop has none, and
//             many pools drop what is queued when they are destroyed.
// Guarantee   What execute has taken runs once, on a thread of the pool. Tasks begin in the order
//             in which they were given. The destructor of a pool runs all that is queued first. A
//             closed pool takes nothing, and says so. A task that throws takes no thread with it.
// Progress    execute: a lock for a few instructions. drain and the destructor block.
// Cost        execute allocates nothing once as many tasks were queued before, for captures up to
//             96 bytes, and wakes a thread only if one sleeps. Threads spin a few microseconds.
// Lifetime    Outlives what it was given to by reference. Its destructor must not run on it.
// Not for     Order: tasks run side by side. Use a serial_queue on top of it. Tasks that wait for
//             later tasks: with all threads waiting, nobody runs those.
//
// Example     worker_pool pool({.threads = 2});  // examples/worker_pool.cpp
//             std::atomic<int> done{0};
//             for (int i = 0; i < 100; ++i) pool.execute([&done] { ++done; });
//             pool.drain();  // 100 done

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/block_cache.hpp"
#include "detail/futex_mutex.hpp"
#include "detail/misuse.hpp"
#include "detail/refuse_nothing.hpp"
#include "executor.hpp"

namespace interlock {

struct worker_pool_options {
  std::size_t threads = 0;  // 0: as many as the machine runs at a time
  // Gets what tasks throw, on the thread that ran them. Without it such an exception ends the
  // program, as with std::thread.
  std::function<void(std::exception_ptr)> on_error{};
};

class worker_pool {
public:
  // Throws: std::system_error if a thread cannot be started; std::invalid_argument for more than
  //         65535 threads.
  explicit worker_pool(worker_pool_options options = {});

  // Effects: close(), then runs what is queued. Terminates if called on a thread of this pool.
  ~worker_pool();

  worker_pool(const worker_pool&) = delete;  // so it is taken by reference, see executor.hpp
  worker_pool& operator=(const worker_pool&) = delete;

  // Effects: has a copy of f run, once, soon, on a thread of the pool; f may be a move-only type.
  // Throws: std::system_error with broken_pipe if the pool is closed, std::invalid_argument if f is
  //         empty (a std::function, a pointer), std::bad_alloc, what the copy of f throws: nothing
  //         was taken then.
  template <class F>
  void execute(F&& f) {
    detail::refuse_nothing(f);
    auto* const task = new piece_of<std::decay_t<F>>(std::forward<F>(f));
    if (!take(*task)) refuse(*task);
  }

  // Effects: takes nothing from now on. What was taken still runs.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  [[nodiscard]] bool closed() const noexcept {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  // Effects: blocks until nothing is queued or running; it need not end while others execute.
  // Throws: std::system_error with resource_deadlock_would_occur on a thread of this pool.
  void drain();

  [[nodiscard]] std::size_t threads() const noexcept { return threads_.size(); }
  // Returns: how many tasks waited for a thread a moment ago.
  [[nodiscard]] std::size_t queued_approx() const noexcept {
    const std::lock_guard lock(mutex_);
    return queued_;
  }
  // Returns: whether this is a thread of the pool.
  [[nodiscard]] bool runs_this_thread() const noexcept { return home == this; }

private:
  struct piece : detail::cached_block {
    explicit piece(void (*function)(piece&)) noexcept : run(function) {}
    void (*const run)(piece&);  // runs it, or throws; destroys it either way
    piece* next = nullptr;
  };
  template <class F>
  struct piece_of : piece {
    template <class G>
    explicit piece_of(G&& given) : piece(&run_it), f(std::forward<G>(given)) {}
    static void run_it(piece& self) {
      const owner mine{static_cast<piece_of*>(&self)};
      std::invoke(std::move(mine.held->f));
    }
    struct owner {
      ~owner() { delete held; }
      piece_of* held;
    };
    F f;
  };

  // Returns: false if the pool is closed.
  bool take(piece& given) noexcept;
  template <class Task>
  [[noreturn]] static void refuse(Task& given) {
    delete &given;
    throw std::system_error(std::make_error_code(std::errc::broken_pipe),
                            "interlock: the worker_pool is closed and takes no tasks");
  }

  void stop() noexcept;
  void work_off() noexcept;
  void run(piece& given) noexcept;

  static inline constinit thread_local const worker_pool* home = nullptr;

  const std::function<void(std::exception_ptr)> on_error_;
  mutable detail::futex_mutex mutex_;  // protects all of this but the threads
  bool closed_ = false;
  bool stopping_ = false;
  piece* first_ = nullptr;
  piece* last_ = nullptr;  // meaningful while first_ is not null
  std::size_t queued_ = 0;
  std::size_t running_ = 0;
  std::size_t sleepers_ = 0;
  std::size_t drains_ = 0;
  detail::park_word calls_{0};  // changes whenever there is something to do
  detail::park_word idles_{0};  // counts how often nothing was left to do
  std::vector<std::thread> threads_;
};

inline worker_pool::worker_pool(worker_pool_options options)
    : on_error_(std::move(options.on_error)) {
  std::size_t n = options.threads;
  if (n == 0) n = std::thread::hardware_concurrency();
  if (n > 65535) {
    throw std::invalid_argument("interlock::worker_pool: more than 65535 threads");
  }
  if (n == 0) n = 1;
  threads_.reserve(n);
  try {
    while (threads_.size() < n) threads_.emplace_back([this] { work_off(); });
  } catch (...) {
    stop();
    throw;
  }
}

inline worker_pool::~worker_pool() {
  if (runs_this_thread()) {
    const std::lock_guard lock(mutex_);  // so that nothing of it is touched behind this
    detail::misuse("~worker_pool: on a thread of the pool, which would wait for itself");
  }
  stop();
}

inline void worker_pool::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = stopping_ = true;
    // order: relaxed: the mutex is held
    calls_.fetch_add(1, std::memory_order_relaxed);
  }
  detail::unpark_all(&calls_);
  for (std::thread& thread : threads_) thread.join();
}

inline bool worker_pool::take(piece& given) noexcept {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    (first_ == nullptr ? first_ : last_->next) = &given;
    last_ = &given;
    ++queued_;
    // order: relaxed: the mutex is held
    calls_.fetch_add(1, std::memory_order_relaxed);
    wake = sleepers_ != 0;
  }
  if (wake) detail::unpark_one(&calls_);
  return true;
}

inline void worker_pool::run(piece& given) noexcept {
  try {
    given.run(given);
  } catch (...) {
    if (!on_error_) std::terminate();
    on_error_(std::current_exception());
  }
}

inline void worker_pool::work_off() noexcept {
  home = this;
  std::unique_lock lock(mutex_);
  for (unsigned round = 0;;) {
    if (first_ != nullptr) {
      piece& next = *std::exchange(first_, first_->next);
      --queued_;
      ++running_;
      lock.unlock();
      run(next);
      lock.lock();
      round = 0;
      if (--running_ != 0 || first_ != nullptr || drains_ == 0) continue;
      // order: relaxed: the mutex is held
      idles_.fetch_add(1, std::memory_order_relaxed);
      detail::unpark_all(&idles_);
      continue;
    }
    if (stopping_) return;
    // order: relaxed: the mutex is held
    const std::uint32_t seen = calls_.load(std::memory_order_relaxed);
    const bool sleeps = round >= detail::spin_rounds;
    sleepers_ += sleeps;
    lock.unlock();
    if (sleeps) {
      detail::park(calls_, seen);
    } else {
      detail::spin_hint(round++);
    }
    lock.lock();
    sleepers_ -= sleeps;
  }
}

inline void worker_pool::drain() {
  if (runs_this_thread()) {
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "interlock: a task of a worker_pool waits for that pool to be idle, "
                            "which it is not before the task has ended");
  }
  std::unique_lock lock(mutex_);
  ++drains_;
  while (running_ != 0 || first_ != nullptr) {
    // order: relaxed: the mutex is held
    const std::uint32_t seen = idles_.load(std::memory_order_relaxed);
    lock.unlock();
    detail::park(idles_, seen);
    lock.lock();
  }
  --drains_;
}

}  // namespace interlock
