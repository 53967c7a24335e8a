// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/async_shared_mutex.hpp - many readers or one writer, across co_await, for coroutines
// and threads alike.
//
// Problem     Many read, few write. With readers let in as they come a writer waits for ever; with
//             std::shared_mutex across a co_await the loop stalls, and who is preferred is not
//             said.
// Guarantee   One exclusive guard owns the mutex or any number of shared ones.
//             A waiting writer stops newcomers and waits for those alone who came before it.
//             Readers that queue behind a writer enter together when it leaves.
//             What a writer did is visible to whoever owns the mutex after it.
//             A wait that is called off holds up nobody behind it.
//             Locking and unlocking shared or not allocate nothing.
// Progress    try_lock, try_lock_shared, a free lock: lock-free. Else a few steps in turn with
//             those who begin, end or give up a wait. lock_blocking: blocking.
// Cost        24 bytes. Free, or shared by readers: one compare-and-swap each way.
// Lifetime    May be destroyed once the last guard has let go, by its owner too, and each wait has
//             given its result.
// Resumes on  The unlocking thread: when the coroutine that runs there (see sync_wait) suspends, or
//             inside unlock() if none does, as on a plain thread. Or the thread that ends its wait.
// Cancellation By a stop token or a deadline, on any thread: the guard owns nothing and says why. A
//             coroutine that waits may be destroyed where nobody can end its wait meanwhile, or on
//             the thread that is about to resume it. A lock that is held is never revoked.
// Not for     Short reads: readers share one word, and async_mutex is cheaper. Upgrading a shared
//             lock. Threads alone, where std::shared_mutex does not hand over to a sleeping thread.
//
// Example     task<int> price(catalogue& from) {             // examples/async_shared_mutex.cpp
//               const auto reading = co_await from.door.lock_shared();
//               from.most_readers = std::max(from.most_readers, ++from.readers);
//               co_await render();  // other readers may run here, but no writer
//               --from.readers;
//               co_return from.price;
//             }

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include "detail/misuse.hpp"
#include "detail/ownership.hpp"
#include "detail/shared_queue.hpp"
#include "detail/waiting.hpp"

namespace interlock {

namespace detail {
template <class Guard, bool Leaves>
class shared_place;
}  // namespace detail

class async_shared_mutex {
public:
  class guard;         // owns it alone
  class shared_guard;  // owns it with others

  constexpr async_shared_mutex() noexcept : async_shared_mutex(max_waiters{~std::uint32_t{0}}) {}
  // Effects: whoever would have to wait while so many do is told `overloaded` instead.
  explicit constexpr async_shared_mutex(max_waiters bound) noexcept : queue_(bound) {}
  async_shared_mutex(const async_shared_mutex&) = delete;
  async_shared_mutex& operator=(const async_shared_mutex&) = delete;
  // Preconditions: no guard owns the mutex and nobody waits for it.
  ~async_shared_mutex() = default;

  // Effects: takes the mutex if it is free; shared: if no writer owns it or waits for it.
  // Returns: a guard; one that timed out if the mutex was not to be had.
  [[nodiscard("the guard unlocks when it is destroyed")]] guard try_lock() noexcept;
  [[nodiscard("the guard unlocks when it is destroyed")]] shared_guard try_lock_shared() noexcept;

  // Effects: co_await takes the mutex, or suspends the coroutine until its turn, until the token is
  //          asked to stop, until the deadline, or until close(), whatever comes first.
  // Returns: an awaitable of a guard, which owns nothing if the wait was refused: see status().
  // Synchronization: what was done by a writer before happens before the result; for a writer, also
  //          what the readers before it did.
  // Token: std::stop_token, or one of its kind; none or one. Timer: see timer.hpp.
  template <detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto lock(Token... stop) noexcept {
    return wait<guard>(detail::stop_end<Token>{std::move(stop)}...);
  }
  template <class Timer, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto lock_until(Timer& timer, typename Timer::time_point deadline,
                                                  Token... stop) noexcept {
    return wait<guard>(detail::stop_end<Token>{std::move(stop)}...,
                       detail::deadline_end<Timer>{&timer, deadline});
  }
  template <detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto lock_shared(Token... stop) noexcept {
    return wait<shared_guard>(detail::stop_end<Token>{std::move(stop)}...);
  }
  template <class Timer, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto lock_shared_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         Token... stop) noexcept {
    return wait<shared_guard>(detail::stop_end<Token>{std::move(stop)}...,
                              detail::deadline_end<Timer>{&timer, deadline});
  }

  // Effects: as lock() and lock_shared(), but blocks this thread.
  // Preconditions: not called by a coroutine: an owner may be waiting for this very thread.
  // Returns: a guard, which owns nothing if the wait was refused: see status().
  [[nodiscard("the guard unlocks when it is destroyed")]] guard lock_blocking() noexcept;
  [[nodiscard("the guard unlocks when it is destroyed")]] guard lock_blocking_until(
      std::chrono::steady_clock::time_point deadline) noexcept;
  [[nodiscard("the guard unlocks when it is destroyed")]] shared_guard
  lock_shared_blocking() noexcept;
  [[nodiscard("the guard unlocks when it is destroyed")]] shared_guard lock_shared_blocking_until(
      std::chrono::steady_clock::time_point deadline) noexcept;

  // Effects: from now on nobody gets the mutex: newcomers and all who wait are told `closed`. Who
  //          owns it goes on owning it.
  void close() noexcept { queue_.close(); }

  [[nodiscard]] bool closed() const noexcept { return queue_.is_closed(); }

  // Returns: true if a guard owns the mutex, shared or not; at one moment during the call.
  [[nodiscard]] bool held() const noexcept { return queue_.held(); }
  // Returns: how many wait, at about this moment.
  [[nodiscard]] std::size_t waiters_approx() const noexcept { return queue_.waiters_approx(); }

private:
  template <class, bool>
  friend class detail::shared_place;

  template <class Guard, class... Ends>
  auto wait(Ends... ends) noexcept {
    static_assert(sizeof...(Ends) <= 2, "one stop token is enough");
    using place = detail::shared_place<Guard, sizeof...(Ends) != 0>;
    return detail::waiting<place, detail::by_trampoline, Ends...>(this, {}, std::move(ends)...);
  }
  template <class Guard>
  Guard try_now() noexcept;
  template <class Guard>
  Guard wait_blocking(const std::chrono::steady_clock::time_point* deadline) noexcept;

  detail::shared_queue queue_;
};
// Owns an async_shared_mutex alone, or nothing, in the manner of std::unique_lock. May be moved
// between threads.
class [[nodiscard("the guard unlocks when it is destroyed")]] async_shared_mutex::guard
    : public detail::ownership<guard, async_shared_mutex> {
public:
  guard() = default;
  // Preconditions: the caller owns the mutex alone, by a guard that was release()d.
  guard(async_shared_mutex& held, std::adopt_lock_t) noexcept : ownership(held) {}
  guard(guard&&) noexcept = default;
  guard& operator=(guard&& other) noexcept {
    guard(std::move(other)).swap(*this);  // what *this owned is unlocked
    return *this;
  }

  // Effects: lets the next ones in, or frees the mutex, and does not touch it afterwards.
  // Preconditions: owns_lock().
  void unlock() noexcept {
    if (owned_ == nullptr) {
      detail::misuse("async_shared_mutex::guard::unlock: owns no mutex; ask owns_lock() first");
    }
    let_go(*release());
  }
  // Effects: gives up ownership without unlocking. Returns: what was owned, or null.
  [[nodiscard("adopt it in another guard")]] async_shared_mutex* release() noexcept {
    return std::exchange(owned_, nullptr);
  }
  // Effects: goes on as a reader, without letting a writer in between; readers at the head of the
  //          queue enter as well. Preconditions: owns_lock().
  // Returns: the shared guard; this one owns nothing from now on.
  [[nodiscard("the guard unlocks when it is destroyed")]] shared_guard downgrade() noexcept;

  [[nodiscard]] async_shared_mutex* mutex() const noexcept { return owned_; }
  void swap(guard& other) noexcept { swap_owned(other); }
  friend void swap(guard& a, guard& b) noexcept { a.swap(b); }

private:
  friend async_shared_mutex;
  friend ownership;
  template <class, bool>
  friend class detail::shared_place;
  static constexpr auto mine = detail::shared_queue::writer;

  explicit guard(wait_status refused) noexcept : ownership(refused) {}
  static void let_go(async_shared_mutex& held) noexcept { held.queue_.let_go(mine); }
};

// Owns an async_shared_mutex together with other readers, or nothing.
class [[nodiscard("the guard unlocks when it is destroyed")]] async_shared_mutex::shared_guard
    : public detail::ownership<shared_guard, async_shared_mutex> {
public:
  shared_guard() = default;
  // Preconditions: the caller is a reader, by a guard that was release()d.
  shared_guard(async_shared_mutex& held, std::adopt_lock_t) noexcept : ownership(held) {}
  shared_guard(shared_guard&&) noexcept = default;
  shared_guard& operator=(shared_guard&& other) noexcept {
    shared_guard(std::move(other)).swap(*this);  // what *this owned is unlocked
    return *this;
  }

  // Effects: the last reader lets the next ones in, or frees the mutex; it is not touched
  //          afterwards. Preconditions: owns_lock().
  void unlock() noexcept {
    if (owned_ == nullptr) {
      detail::misuse(
          "async_shared_mutex::shared_guard::unlock: owns no mutex; ask owns_lock() first");
    }
    let_go(*release());
  }
  // Effects: gives up ownership without unlocking. Returns: what was owned, or null.
  [[nodiscard("adopt it in another guard")]] async_shared_mutex* release() noexcept {
    return std::exchange(owned_, nullptr);
  }
  // There is no upgrade: each of two readers that upgrade would wait for the other one to leave.
  template <class Never = void>
  void upgrade() noexcept {
    static_assert(
        !std::is_void_v<Never>,
        "a shared lock cannot be upgraded: of two readers that tried, each would wait for "
        "the other one to leave. Unlock, lock() and look again, or lock() from the start "
        "and downgrade()");
  }

  [[nodiscard]] async_shared_mutex* mutex() const noexcept { return owned_; }
  void swap(shared_guard& other) noexcept { swap_owned(other); }
  friend void swap(shared_guard & a, shared_guard& b) noexcept { a.swap(b); }

private:
  friend async_shared_mutex;
  friend ownership;
  template <class, bool>
  friend class detail::shared_place;
  static constexpr auto mine = detail::shared_queue::reader;

  explicit shared_guard(wait_status refused) noexcept : ownership(refused) {}
  static void let_go(async_shared_mutex& held) noexcept { held.queue_.let_go(mine); }
};

// ------------------------------------------------------------------------------------------------
// Who gets in, and when: detail/shared_queue.hpp.

namespace detail {

// One coroutine that waits to become a writer or a reader. Leaves: its wait may be ended by others,
// so all that decides it happens with the queue locked.
template <class Guard, bool Leaves>
class shared_place : public coroutine_waiter {
public:
  using request = async_shared_mutex*;

  shared_place(request mutex, wake_function function) noexcept
      : coroutine_waiter(function), mutex_(mutex) {
    amount = static_cast<std::uint32_t>(Guard::mine);
  }
  shared_place(const shared_place&) = delete;
  shared_place& operator=(const shared_place&) = delete;
  ~shared_place() {
    if (!suspended) return;
    procession freed;
    if (!ended && queue().withdraw(*this, wait_status::cancelled, freed)) {
      freed.wake();
      return;
    }
    if (!trampoline::forget(*this)) {
      misuse(
          "async_shared_mutex: a coroutine was destroyed while another thread was about to resume "
          "it; destroy it where nobody can end its wait meanwhile");
    }
    if (status == wait_status::acquired) queue().let_go(Guard::mine);
  }

  request what() const noexcept { return mutex_; }
  bool try_now() noexcept { return queue().take(Guard::mine); }
  bool suspend() noexcept {
    return (Leaves || !queue().take(Guard::mine)) && queue().take_or_queue(*this);
  }
  void end(wait_status why) noexcept {
    procession freed;
    if (!queue().withdraw(*this, why, freed)) return;
    freed.add(*this);
    freed.wake();
  }
  Guard finish() noexcept {
    suspended = false;
    return status == wait_status::acquired ? Guard(*mutex_, std::adopt_lock) : Guard(status);
  }

private:
  shared_queue& queue() const noexcept { return mutex_->queue_; }

  async_shared_mutex* const mutex_;
};

}  // namespace detail

template <class Guard>
Guard async_shared_mutex::wait_blocking(
    const std::chrono::steady_clock::time_point* deadline) noexcept {
  const wait_status end = queue_.block(Guard::mine, deadline);
  return end == wait_status::acquired ? Guard(*this, std::adopt_lock) : Guard(end);
}

template <class Guard>
Guard async_shared_mutex::try_now() noexcept {
  if (queue_.take(Guard::mine)) return Guard(*this, std::adopt_lock);
  return Guard(closed() ? wait_status::closed : wait_status::timed_out);
}
inline auto async_shared_mutex::try_lock() noexcept -> guard {
  return try_now<guard>();
}
inline auto async_shared_mutex::try_lock_shared() noexcept -> shared_guard {
  return try_now<shared_guard>();
}
inline auto async_shared_mutex::lock_blocking() noexcept -> guard {
  return wait_blocking<guard>(nullptr);
}
inline auto async_shared_mutex::lock_blocking_until(
    std::chrono::steady_clock::time_point deadline) noexcept -> guard {
  return wait_blocking<guard>(&deadline);
}
inline auto async_shared_mutex::lock_shared_blocking() noexcept -> shared_guard {
  return wait_blocking<shared_guard>(nullptr);
}
inline auto async_shared_mutex::lock_shared_blocking_until(
    std::chrono::steady_clock::time_point deadline) noexcept -> shared_guard {
  return wait_blocking<shared_guard>(&deadline);
}
inline auto async_shared_mutex::guard::downgrade() noexcept -> shared_guard {
  if (owned_ == nullptr) {
    detail::misuse("async_shared_mutex::guard::downgrade: owns no mutex; ask owns_lock() first");
  }
  owned_->queue_.downgrade();
  return shared_guard(*release(), std::adopt_lock);
}

}  // namespace interlock
