// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/async_mutex.hpp - one at a time across co_await, for coroutines and threads alike.
//
// Problem     Read, co_await, write loses updates even in a single-threaded event loop. std::mutex
//             held across a co_await stalls the loop, and another thread may have to unlock it.
// Guarantee   At most one guard owns the mutex at any time. Coroutines get it in the order in which
//             they queued. What one owner did is visible to the next. A chain of a million
//             hand-overs needs no deep stack. Locking and unlocking allocate nothing. A callable
//             that throws inside run_exclusive leaves the mutex unlocked.
// Progress    try_lock, lock() without ends, unlock: lock-free, never block; but see Resumes on.
//             With a stop token, a deadline or a bound: to begin or end the wait may take until
//             another thread has changed the queue, a few instructions, and some for each who has
//             queued since. lock_blocking: blocking.
// Cost        32 bytes. Free: one CAS each way. Taken: one CAS to queue; handed on by a plain pop,
//             or by two atomic operations when newcomers have to be collected. A wait that may end
//             early: two to queue, three if nobody else is there; one and a store to hand on to
//             it, two to end it, however many others wait.
// Lifetime    May be destroyed when the last guard has let go, by its owner too, unless somebody
//             waits or another thread is in close(). A coroutine that waits may be destroyed where
//             nobody unlocks or ends its wait meanwhile, or on the thread that is about to resume
//             it.
// Resumes on  The unlocking thread: when the coroutine that runs there (see sync_wait) suspends, or
//             inside unlock() if none does, as on a plain thread; with all that it makes ready. So
//             for a stop, a deadline, close() and, if one unlocks meanwhile, waiters_approx().
//             lock().resume_on(executor): there.
// Cancellation By stop token, deadline or close(): whoever takes the waiter off the queue decides,
//             so it is granted or refused, never both. A lock that is held is never revoked.
// Not for     Recursive locking. Exclusion among threads alone, where std::mutex is faster.
//
// Example     task<> deposit(account& to, int amount) {   // examples/async_mutex.cpp
//               const auto held = co_await to.door.lock();
//               const int before = to.balance;
//               co_await audit(amount);  // others may run here, but not inside this account
//               to.balance = before + amount;
//             }

#include <chrono>
#include <cstddef>
#include <mutex>
#include <type_traits>
#include <utility>

#include "detail/exclusive.hpp"
#include "detail/mutex_line.hpp"
#include "detail/mutex_queue.hpp"
#include "detail/ownership.hpp"
#include "detail/waiting.hpp"
#include "run_result.hpp"
#include "timer.hpp"
#include "wait_status.hpp"

namespace interlock {

namespace detail {
template <bool Leaves>
class mutex_place;
}  // namespace detail

// Ownership is always in a guard. An unlock() here would let std::lock_guard compile, which would
// call a lock() that nobody awaits.
//
// Every wait gives a guard. Without a bound and without close(), lock() gives one that owns. All
// others are to be asked: if (!held) return held.status(); a refused one that nobody asks ends the
// program with a sentence.
class async_mutex {
public:
  class guard;

  constexpr async_mutex() noexcept = default;
  // At most so many wait; one more is refused at once, as overloaded. Costs every wait some more.
  // A thread that was woken and finds the mutex taken again waits on, over the bound if need be.
  constexpr explicit async_mutex(max_waiters limit) noexcept : queue_(limit.count) {}
  async_mutex(const async_mutex&) = delete;
  async_mutex& operator=(const async_mutex&) = delete;
  // Preconditions: no guard owns the mutex and nobody waits for it.
  ~async_mutex() = default;

  // Effects: takes the mutex if it is free. Never blocks or suspends.
  // Returns: a guard; one that timed out, or `closed`, if the mutex was not free: ask it, as all.
  [[nodiscard("the guard unlocks when it is destroyed")]] guard try_lock() noexcept;

  // Effects: co_await lock() takes the mutex, or suspends the coroutine until its turn; or until
  //          the stop token asks for it, or the timer's deadline has passed, which ends the wait
  //          at once, on the thread that asks. A deadline in the past: tries once. A token that
  //          was asked before: takes nothing.
  // Returns: an awaitable of a guard. It has resume_on(executor) and resume_inline().
  // Synchronization: the unlock by the previous owner happens before a result that owns.
  [[nodiscard("write co_await")]] auto lock() noexcept;
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto lock(Token stop);
  template <timer Timer>
  [[nodiscard("write co_await")]] auto lock_until(Timer& timer,
                                                  typename Timer::time_point deadline);
  template <timer Timer, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto lock_until(
      Timer& timer, typename Timer::time_point deadline, Token stop);

  // Effects: takes the mutex, or blocks this thread until its turn, or past the deadline.
  // Preconditions: not called by a coroutine: the owner may be waiting for this very thread.
  // Returns: a guard.
  [[nodiscard("the guard unlocks when it is destroyed")]] guard lock_blocking() noexcept;
  [[nodiscard("the guard unlocks when it is destroyed")]] guard lock_blocking_until(
      std::chrono::steady_clock::time_point deadline) noexcept;

  // Effects: co_await run_exclusive(f) calls f() as the owner; or not, if the wait was refused. If
  //          f gives a coroutine, awaits it before the mutex is released; run_exclusive(f) is then
  //          itself a coroutine of that kind, such as task<run_result<R>>, with its own frame.
  // Returns: an awaitable of a run_result of what f gives. Throws: what f throws.
  template <class F>
  [[nodiscard("write co_await")]] auto run_exclusive(F f);
  template <class F, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto run_exclusive(F f, Token stop);

  // Effects: if the mutex is free, calls f() as the owner. If that gives a coroutine, f is called
  //          and awaited by the coroutine that is returned, which owns the mutex from now on.
  // Returns: an optional of what f gives, empty if the mutex was not free; for void, a bool.
  template <class F>
  [[nodiscard("empty or false if busy")]] auto try_run_exclusive(F f);

  // Effects: tells all who wait and all who come that it is closed: those who may leave and threads
  //          at once, the others at the latest when the owner unlocks. The owner keeps the mutex.
  void close() noexcept { queue_.close(); }
  [[nodiscard]] bool closed() const noexcept { return queue_.is_closed(); }

  // Returns: whether somebody owns it, and how many wait for it, at some moment. To count takes as
  //          long as those who came since the last unlock, or the last count, are many.
  [[nodiscard]] bool held() const noexcept { return queue_.held(); }
  [[nodiscard]] std::size_t waiters_approx() const noexcept { return queue_.waiters(); }

private:
  template <bool>
  friend class detail::mutex_place;
  template <bool Leaves, class... Ends>
  using lock_wait =
      detail::waiting<detail::mutex_place<Leaves>, detail::by_trampoline, Ends...>;

  guard blocking(const std::chrono::steady_clock::time_point* deadline) noexcept;

  mutable detail::mutex_queue queue_;  // whoever counts its waiters collects them
};

// Owns an async_mutex or nothing, in the manner of std::unique_lock. May be moved between threads.
class [[nodiscard("the guard unlocks when it is destroyed")]] async_mutex::guard
    : public detail::ownership<guard, async_mutex> {
public:
  guard() = default;
  // Preconditions: the caller owns the mutex through a guard that was release()d.
  guard(async_mutex& held, std::adopt_lock_t) noexcept : ownership(held) {}
  guard(guard&& other) noexcept = default;
  guard& operator=(guard&& other) noexcept {
    guard(std::move(other)).swap(*this);  // what *this owned is unlocked
    return *this;
  }
  ~guard() = default;

  // Effects: hands the mutex to the first waiter, or frees it. The mutex is not touched afterwards.
  // Preconditions: owns_lock().
  void unlock() noexcept {
    if (owned_ == nullptr) {
      detail::misuse("async_mutex::guard::unlock: owns no mutex; ask owns_lock() first");
    }
    let_go(*release());
  }

  // Effects: gives up ownership without unlocking. Returns: what was owned, or null.
  [[nodiscard("adopt it in another guard")]] async_mutex* release() noexcept {
    return std::exchange(owned_, nullptr);
  }
  [[nodiscard]] async_mutex* mutex() const noexcept { return owned_; }

  void swap(guard& other) noexcept { swap_owned(other); }
  friend void swap(guard& a, guard& b) noexcept { a.swap(b); }

private:
  friend detail::ownership<guard, async_mutex>;
  friend async_mutex;
  template <bool>
  friend class detail::mutex_place;

  explicit guard(wait_status refused) noexcept : ownership(refused) {}
  static void let_go(async_mutex& mutex) noexcept { mutex.queue_.unlock(); }
};

// ------------------------------------------------------------------------------------------------
// How it works: see detail/mutex_queue.hpp.

namespace detail {

// A coroutine that waits for the mutex, as waiting<> asks for it. Leaves: it may leave before its
// turn. Otherwise all it needs is a place on the stack of newcomers.
template <bool Leaves>
class mutex_place : public std::conditional_t<Leaves, coroutine_waiter, newcomer_waiter> {
  using base = std::conditional_t<Leaves, coroutine_waiter, newcomer_waiter>;

public:
  using request = async_mutex*;
  static constexpr bool owns = true;

  mutex_place(async_mutex* mutex, waiter::wake_function function) noexcept
      : base(function), mutex_(mutex) {
    if constexpr (Leaves) this->amount = mutex_queue::leaver;
  }
  mutex_place(const mutex_place&) = delete;
  mutex_place& operator=(const mutex_place&) = delete;
  ~mutex_place() {
    if (this->suspended) queue().abandon(*this);
  }

  request what() const noexcept { return mutex_; }
  bool try_now() noexcept { return queue().looks_free() && queue().take(); }
  bool suspend() noexcept {
    if constexpr (Leaves) {
      return queue().take_or_stand(*this);
    } else {
      return queue().take_or_push(*this);
    }
  }
  void end(wait_status why) noexcept { queue().end(*this, why); }
  async_mutex::guard finish() noexcept {
    this->suspended = false;
    return this->status == wait_status::acquired ? async_mutex::guard(*mutex_, std::adopt_lock)
                                                 : async_mutex::guard(this->status);
  }

private:
  mutex_queue& queue() const noexcept { return mutex_->queue_; }

  async_mutex* mutex_;
};

}  // namespace detail

inline async_mutex::guard async_mutex::try_lock() noexcept {
  if (queue_.take()) return guard(*this, std::adopt_lock);
  return guard(closed() ? wait_status::closed : wait_status::timed_out);
}

inline auto async_mutex::lock() noexcept { return lock_wait<false>(this); }

template <detail::stop_token_like Token>
auto async_mutex::lock(Token stop) {
  return lock_wait<true, detail::stop_end<Token>>(this, {}, {std::move(stop)});
}

template <timer Timer>
auto async_mutex::lock_until(Timer& timer, typename Timer::time_point deadline) {
  return lock_wait<true, detail::deadline_end<Timer>>(this, {}, {&timer, deadline});
}

template <timer Timer, detail::stop_token_like Token>
auto async_mutex::lock_until(Timer& timer, typename Timer::time_point deadline, Token stop) {
  return lock_wait<true, detail::stop_end<Token>, detail::deadline_end<Timer>>(
      this, {}, {std::move(stop)}, {&timer, deadline});
}

inline async_mutex::guard async_mutex::blocking(
    const std::chrono::steady_clock::time_point* deadline) noexcept {
  const wait_status how = queue_.take() ? wait_status::acquired : queue_.block(deadline);
  return how == wait_status::acquired ? guard(*this, std::adopt_lock) : guard(how);
}
inline async_mutex::guard async_mutex::lock_blocking() noexcept { return blocking(nullptr); }
inline async_mutex::guard async_mutex::lock_blocking_until(
    std::chrono::steady_clock::time_point deadline) noexcept {
  return blocking(&deadline);
}

template <class F>
auto async_mutex::run_exclusive(F f) {
  return detail::run_as_owner(std::move(f), [this] { return lock(); });
}
template <class F, detail::stop_token_like Token>
auto async_mutex::run_exclusive(F f, Token stop) {
  return detail::run_as_owner(std::move(f), [this, stop = std::move(stop)]() mutable {
    return lock(std::move(stop));
  });
}
template <class F>
auto async_mutex::try_run_exclusive(F f) {
  return detail::run_if_owner(try_lock(), std::move(f));
}

}  // namespace interlock
