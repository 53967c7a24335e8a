// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/async_mutex.hpp - one at a time across co_await, for coroutines and threads alike.
//
// Problem     Read, co_await, write loses updates even in a single-threaded event loop. std::mutex
//             held across a co_await stalls the loop, and another thread may have to unlock it.
// Guarantee   At most one guard owns the mutex at any time. Waiters get it in the order in which
//             they queued. What one owner did is visible to the next. A chain of a million
//             hand-overs needs no deep stack. Locking and unlocking allocate nothing. A callable
//             that throws inside run_exclusive leaves the mutex unlocked.
// Progress    try_lock, lock, unlock: lock-free, never block; but see Resumes on. lock_blocking:
//             blocking.
// Cost        16 bytes. Free: one CAS each way. Taken: one CAS to queue; handed on by a plain pop,
//             or by two atomic operations when newcomers have to be collected.
// Lifetime    May be destroyed once the last guard has let go, by its owner too. The frame of a
//             coroutine that waits must not be destroyed.
// Resumes on  The unlocking thread: when the coroutine that runs there (see sync_wait) suspends, or
//             inside unlock() if none does, as on a plain thread; with all that it makes ready.
// Cancellation none: who has queued gets its turn, and a lock that is held is never revoked.
// Not for     Recursive locking. Exclusion among threads alone, where std::mutex is faster.
//
// Example     task<> deposit(account& to, int amount) {   // examples/async_mutex.cpp
//               const auto held = co_await to.door.lock();
//               const int before = to.balance;
//               co_await audit(amount);  // others may run here, but not inside this account
//               to.balance = before + amount;
//             }

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "detail/awaitable.hpp"
#include "detail/misuse.hpp"
#include "detail/parking.hpp"
#include "detail/waiter.hpp"

namespace interlock {

namespace detail {

// A callable whose result is a coroutine.
template <class F>
concept coroutine_function =
    requires { typename std::coroutine_traits<std::invoke_result_t<F&>>::promise_type; };

// A callable whose result is something else to await, which would outlive the lock.
template <class F>
concept awaitable_function = awaitable<std::invoke_result_t<F&>>;

}  // namespace detail

// Ownership is always in a guard. An unlock() here would let std::lock_guard compile, which would
// call a lock() that nobody awaits.
class async_mutex {
public:
  class guard;

  async_mutex() = default;
  async_mutex(const async_mutex&) = delete;
  async_mutex& operator=(const async_mutex&) = delete;
  // Preconditions: no guard owns the mutex and nobody waits for it.
  ~async_mutex();

  // Effects: takes the mutex if it is free. Never blocks or suspends.
  // Returns: a guard; it is empty if the mutex was not free.
  [[nodiscard("the guard unlocks when it is destroyed")]] guard try_lock() noexcept;

  // Effects: co_await lock() takes the mutex, or suspends the coroutine until its turn.
  // Returns: an awaitable of a guard that owns the mutex.
  // Synchronization: the unlock by the previous owner happens before the result.
  [[nodiscard("write co_await")]] auto lock() noexcept;

  // Effects: takes the mutex, or blocks this thread until its turn.
  // Preconditions: not called by a coroutine: the owner may be waiting for this very thread.
  // Returns: a guard that owns the mutex.
  [[nodiscard("the guard unlocks when it is destroyed")]] guard lock_blocking() noexcept;

  // Effects: co_await run_exclusive(f) calls f() as the owner. If that gives a coroutine, awaits it
  //          before the mutex is released; run_exclusive(f) is then itself a coroutine of that
  //          type, such as task<R>, with a frame of its own.
  // Returns: an awaitable of what f gives. Throws: what f throws.
  template <class F>
  [[nodiscard("write co_await")]] auto run_exclusive(F f);

  // Effects: if the mutex is free, calls f() as the owner. If that gives a coroutine, f is called
  //          and awaited by the coroutine that is returned, which owns the mutex from now on.
  // Returns: an optional of what f gives, empty if the mutex was not free; for void, a bool.
  template <class F>
  [[nodiscard("empty or false if busy")]] auto try_run_exclusive(F f);

private:
  class lock_awaiter;
  template <class F>
  class exclusive_call;

  template <class F>
  std::invoke_result_t<F&> exclusive_coroutine(F f);
  template <class F>
  static std::invoke_result_t<F&> owning_coroutine(guard held, F f);

  bool take() noexcept;
  bool take_or_queue(detail::waiter& node) noexcept;
  void unlock() noexcept;

  // state_ holds one of three kinds of values:
  //   free    nobody owns the mutex; nobody waits
  //   owned   somebody does; nobody has queued since the queue was last collected
  //   other   somebody does; the newest of those who have queued since, linked to the older ones
  static constexpr std::uintptr_t owned = 0;  // also the null that ends the list
  static constexpr std::uintptr_t free = 1;   // no address: nodes are aligned

  std::atomic<std::uintptr_t> state_{free};
  detail::waiter* queue_ = nullptr;  // collected waiters, oldest first; the owner's
};

// Owns an async_mutex or nothing, in the manner of std::unique_lock. May be moved between threads.
class [[nodiscard("the guard unlocks when it is destroyed")]] async_mutex::guard {
public:
  guard() = default;
  // Preconditions: the caller owns the mutex through a guard that was release()d.
  guard(async_mutex& held, std::adopt_lock_t) noexcept : mutex_(&held) {}
  guard(guard&& other) noexcept : mutex_(other.release()) {}
  guard& operator=(guard&& other) noexcept {
    guard(std::move(other)).swap(*this);  // what *this owned is unlocked
    return *this;
  }
  ~guard() {
    if (mutex_ != nullptr) mutex_->unlock();
  }

  // Effects: hands the mutex to the first waiter, or frees it. The mutex is not touched afterwards.
  // Preconditions: owns_lock().
  void unlock() noexcept {
    if (mutex_ == nullptr) {
      detail::misuse("async_mutex::guard::unlock: owns no mutex; ask owns_lock() first");
    }
    release()->unlock();
  }

  // Effects: gives up ownership without unlocking. Returns: what was owned, or null.
  [[nodiscard("adopt it in another guard")]] async_mutex* release() noexcept {
    return std::exchange(mutex_, nullptr);
  }

  [[nodiscard]] async_mutex* mutex() const noexcept { return mutex_; }
  [[nodiscard]] bool owns_lock() const noexcept { return mutex_ != nullptr; }
  explicit operator bool() const noexcept { return owns_lock(); }

  void swap(guard& other) noexcept { std::swap(mutex_, other.mutex_); }
  friend void swap(guard& a, guard& b) noexcept { a.swap(b); }

private:
  async_mutex* mutex_ = nullptr;
};

// ------------------------------------------------------------------------------------------------
// The queue is two lists (Lewis Baker, cppcoro): newcomers push themselves onto a stack in state_;
// the owner collects the stack, reversed, into a list of its own and hands the mutex to its head.
// As long as that list lasts, a hand-over is a plain pop: the mutex stays owned throughout.
//
// Why it is FIFO: the stack is collected only when the list is empty, so whoever is in the list
// came before whoever is on the stack. Why nobody is forgotten: the mutex becomes free only by a
// CAS that fails if somebody has queued. Why it may be destroyed early: that CAS, or taking the
// head off the list, is the last thing that unlock() does to the mutex.

// Returns: true if the mutex was free and is now the caller's.
inline bool async_mutex::take() noexcept {
  std::uintptr_t expected = free;
  // order: acquire/relaxed [async_mutex.take] pairs with [async_mutex.unlock]: sees what the last owner did
  return state_.compare_exchange_strong(expected, owned, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

// Returns: true if the mutex is the caller's; false if the node was queued and will be woken as
//          the owner. It may have been woken already: touch neither it nor the mutex then.
inline bool async_mutex::take_or_queue(detail::waiter& node) noexcept {
  while (true) {
    // order: relaxed: only a guess, the compare-exchange below or in take() decides
    std::uintptr_t seen = state_.load(std::memory_order_relaxed);
    if (seen == free) {
      if (take()) return true;
      continue;
    }
    node.next = reinterpret_cast<detail::waiter*>(seen);
    // order: release/relaxed [async_mutex.queue] pairs with [async_mutex.collect]: publishes the node and what its owner did
    if (state_.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(&node),
                                     std::memory_order_release, std::memory_order_relaxed)) {
      return false;
    }
  }
}

inline void async_mutex::unlock() noexcept {
  if (queue_ == nullptr) {
    std::uintptr_t seen = owned;
    // order: release/relaxed [async_mutex.unlock] pairs with [async_mutex.take]: publishes what this owner did
    if (state_.compare_exchange_strong(seen, free, std::memory_order_release,
                                       std::memory_order_relaxed)) {
      return;
    }
    if (seen == free) {
      detail::misuse("async_mutex: unlocked while free; adopt only a mutex that a guard released");
    }
    // order: acquire [async_mutex.collect] pairs with [async_mutex.queue]: sees the nodes and what the waiters did
    seen = state_.exchange(owned, std::memory_order_acquire);
    queue_ = detail::reverse(reinterpret_cast<detail::waiter*>(seen));
  }
  detail::waiter* const next_owner = queue_;
  queue_ = next_owner->next;
  next_owner->wake();
}

inline async_mutex::~async_mutex() {
  // order: relaxed: the last use happens before the destruction, or there is no order that helps
  if (state_.load(std::memory_order_relaxed) != free) {
    detail::misuse("~async_mutex: still owned; let every guard and every waiter go first");
  }
}

inline async_mutex::guard async_mutex::try_lock() noexcept {
  return take() ? guard(*this, std::adopt_lock) : guard();
}

class [[nodiscard("write co_await")]] async_mutex::lock_awaiter {
public:
  explicit lock_awaiter(async_mutex& mutex) noexcept : mutex_(mutex) {}

  // Not asked first: taking the mutex and queueing share one look at the state.
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    node_.continuation = self;
    return !mutex_.take_or_queue(node_);
  }
  guard await_resume() const noexcept { return guard(mutex_, std::adopt_lock); }

private:
  async_mutex& mutex_;
  detail::coroutine_waiter node_;
};

inline auto async_mutex::lock() noexcept { return lock_awaiter(*this); }

inline async_mutex::guard async_mutex::lock_blocking() noexcept {
  for (unsigned round = 0; round < detail::spin_rounds; ++round) {
    // order: relaxed: only a guess, so that spinning does not pull the line away from the owner
    if (state_.load(std::memory_order_relaxed) == free && take()) {
      return guard(*this, std::adopt_lock);
    }
    detail::spin_hint(round);
  }
  detail::thread_waiter node;
  if (!take_or_queue(node)) node.wait();
  return guard(*this, std::adopt_lock);
}

template <class F>
class [[nodiscard("write co_await")]] async_mutex::exclusive_call {
public:
  static_assert(!detail::awaitable_function<F>, "make f a coroutine that awaits this itself");
  static_assert(alignof(F) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "compilers do not over-align coroutine frames: capture a pointer instead");

  exclusive_call(async_mutex& mutex, F f) : lock_(mutex), f_(std::move(f)) {}

  bool await_ready() const noexcept { return lock_.await_ready(); }
  bool await_suspend(std::coroutine_handle<> self) noexcept { return lock_.await_suspend(self); }
  decltype(auto) await_resume() {
    const guard held = lock_.await_resume();
    return f_();
  }

private:
  lock_awaiter lock_;
  F f_;
};

template <class F>
std::invoke_result_t<F&> async_mutex::exclusive_coroutine(F f) {
  const guard held = co_await lock();
  co_return co_await f();
}

template <class F>
std::invoke_result_t<F&> async_mutex::owning_coroutine(guard held, F f) {
  const guard until_done = std::move(held);  // a parameter would last as long as the frame
  co_return co_await f();
}

template <class F>
auto async_mutex::run_exclusive(F f) {
  if constexpr (detail::coroutine_function<F>) {
    return exclusive_coroutine(std::move(f));
  } else {
    return exclusive_call<F>(*this, std::move(f));
  }
}

template <class F>
auto async_mutex::try_run_exclusive(F f) {
  using result = std::invoke_result_t<F&>;
  static_assert(detail::coroutine_function<F> || !detail::awaitable_function<F>,
                "make f a coroutine that awaits this itself");
  guard held = try_lock();
  if constexpr (std::is_void_v<result>) {
    if (held) f();
    return held.owns_lock();
  } else if constexpr (detail::coroutine_function<F>) {
    return held ? std::optional<result>(owning_coroutine(std::move(held), std::move(f)))
                : std::nullopt;
  } else {
    return held ? std::optional<result>(f()) : std::nullopt;
  }
}

}  // namespace interlock
