// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/async_semaphore.hpp - at most so many at once, for coroutines and threads alike.
//
// Problem     A limit on connections, on requests in flight, on megabytes in use: a counter that is
//             checked and then raised lets too many in, and std::counting_semaphore stops the loop.
//             With first come, any size served, one who needs much waits for ever.
// Guarantee   Never more permits are out than there are.
//             Permits go out in the order in which they were asked for whatever the amounts.
//             A wait that is cancelled or too late takes nothing and lets those behind it in.
//             What was done before permits were given back is visible to whoever gets them.
//             Whoever gets the last permits may destroy the semaphore at once.
//             Acquiring and giving back allocate nothing.
// Progress    try_acquire, and giving back while nobody waits: lock-free. With waiters: a few
//             instructions in turn. acquire_blocking: blocking.
// Cost        32 bytes; a guard has 16. With enough there and nobody waiting: a load and a
//             compare-and-swap each way. A cancelled wait leaves the line in O(1).
// Lifetime    May be destroyed when no guard holds permits, nobody waits and no close() runs, also
//             by the last who was let in: a release() touches nothing once those that it lets in
//             can go on.
//             A coroutine that waits may be destroyed where nobody can end its wait meanwhile, or
//             on the thread that is about to resume it; permits that it had been given go on.
// Resumes on  The thread that gives back, stops or closes: when the coroutine that runs there
//             suspends, or inside the call if none does, as on a plain thread. Or where
//             .resume_on(executor) puts it.
// Cancellation By a stop token, by a deadline of any timer, by close(); never once it was let in.
// Not for     Exclusion (async_mutex is quicker with threads). Counting without a wait
//             (bounded_counter).
//
// Example     task<wait_status> query(pool& from) {   // examples/async_semaphore.cpp
//               const auto permit = co_await from.permits.acquire();
//               if (!permit) co_return permit.status();  // overloaded: say 503 now, not later
//               const int connection = from.idle.back();  // there is one for each permit
//               from.idle.pop_back();
//               co_await talk(connection);
//               from.idle.push_back(connection);
//               co_return wait_status::acquired;
//             }

#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

#include "detail/misuse.hpp"
#include "detail/ownership.hpp"
#include "detail/permit_queue.hpp"
#include "detail/waiting.hpp"
#include "timer.hpp"
#include "wait_status.hpp"

namespace interlock {

// Each wait asks for n permits and gets all of them or none. n may be 0, which waits for nobody; to
// ask for more than most() is `overloaded` at once, for there will never be so many.
//
// The ends of a wait, in all its forms. A stop that is requested already: `cancelled`, whatever is
// there. A deadline that has passed: tries once, else `timed_out`. A closed semaphore: `closed`.
// As many waiting as may wait: `overloaded`. The guard says which.
//
// Threads stand in the same line, and what is given back is handed to the first, asleep or not.
class async_semaphore {
  using line = detail::permit_queue<detail::permit_kind::counted>;
  using place = detail::permit_place<async_semaphore>;
  using plain_place = detail::plain_permit_place<async_semaphore>;
  template <class Place, class... Ends>
  using wait = detail::waiting<Place, detail::by_trampoline, Ends...>;

public:
  class permits;

  // Returns: how many permits a semaphore can have.
  static constexpr std::uint32_t max() noexcept { return ~0U - 1; }

  // Effects: `initial` permits are there, and there will never be more.
  explicit async_semaphore(std::uint32_t initial, max_waiters room = {~0U}) noexcept
      : async_semaphore(initial, initial, room) {}
  // Effects: `initial` permits are there, and release(n) may make it more: up to `most`.
  // Preconditions: initial <= most <= max().
  async_semaphore(std::uint32_t initial, std::uint32_t most, max_waiters room = {~0U}) noexcept
      : line_({most}, initial, room) {
    if (initial > most || most > max()) {
      detail::misuse("async_semaphore: needs initial <= most <= async_semaphore::max()");
    }
  }
  async_semaphore(const async_semaphore&) = delete;
  async_semaphore& operator=(const async_semaphore&) = delete;
  // Preconditions: no guard holds permits, nobody waits.
  ~async_semaphore() {
    line_.expect_empty("~async_semaphore: somebody waits; close() it, and let every waiter go");
  }

  // Effects: takes n permits if they are there and nobody is in line. Never waits.
  // Returns: a guard. If refused its status is timed_out, as that of a wait of no length; or
  //          overloaded, closed.
  [[nodiscard("the guard gives back when it is destroyed")]] permits try_acquire(
      std::uint64_t n = 1) noexcept;

  // Effects: co_await acquire(n) takes n permits, or suspends the coroutine until its turn.
  // Returns: an awaitable of a guard, which has them or says why not.
  // Synchronization: what was done before they were given back happens before the result.
  // Complexity: O(1), also to leave the line.
  [[nodiscard("write co_await")]] auto acquire(std::uint64_t n = 1) noexcept {
    return wait<plain_place>(request(n));
  }
  // Effects: the same, until a stop is requested, by any thread.
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto acquire(std::uint64_t n, Token stop) {
    using stopped = detail::stop_end<Token>;
    return wait<place, stopped>(request(n), {}, stopped{std::move(stop)});
  }
  // Effects: the same, until the deadline; the timer outlives the wait.
  template <timer Timer>
  [[nodiscard("write co_await")]] auto acquire_until(Timer& timer,
                                                     typename Timer::time_point deadline,
                                                     std::uint64_t n = 1) {
    using late = detail::deadline_end<Timer>;
    return wait<place, late>(request(n), {}, late{&timer, deadline});
  }
  template <timer Timer, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto acquire_until(Timer& timer,
                                                     typename Timer::time_point deadline,
                                                     std::uint64_t n, Token stop) {
    using stopped = detail::stop_end<Token>;
    using late = detail::deadline_end<Timer>;
    return wait<place, stopped, late>(request(n), {}, stopped{std::move(stop)},
                                      late{&timer, deadline});
  }

  // Effects: takes n permits, or blocks this thread until its turn.
  // Preconditions: not called by a coroutine: who has them may be waiting for this very thread.
  [[nodiscard("the guard gives back when it is destroyed")]] permits acquire_blocking(
      std::uint64_t n = 1) noexcept;
  // Effects: the same, but not past the deadline.
  [[nodiscard("the guard gives back when it is destroyed")]] permits acquire_blocking_until(
      std::chrono::steady_clock::time_point deadline, std::uint64_t n = 1) noexcept;

  // Effects: gives n permits, new ones or those that permits::release() left to the caller. Those
  //          at the head of the line for whom there is enough get theirs, and are woken.
  // Preconditions: there are never more than most() by that.
  // Synchronization: happens before the return of whoever gets them.
  // Complexity: those who are let in.
  void release(std::uint64_t n = 1) noexcept {
    if (n != 0) line_.give(n);
  }

  // Effects: from now on nobody gets permits: all who wait and all who come are told `closed`.
  //          Permits that are out stay out and can be given back. A second close() does nothing.
  // Complexity: those who wait.
  void close() noexcept { line_.close(); }
  [[nodiscard]] bool closed() const noexcept { return line_.is_closed(); }

  // Returns: how many permits there can be.
  [[nodiscard]] std::uint32_t most() const noexcept { return line_.most(); }
  // Returns: how many permits are there, at one moment. Do not decide on it: try_acquire().
  [[nodiscard]] std::uint32_t available_approx() const noexcept { return line_.permits(); }
  // Returns: how many coroutines and threads are in line, at one moment.
  [[nodiscard]] std::uint32_t waiters_approx() const noexcept { return line_.in_line(); }

private:
  template <class>
  friend class detail::permit_place;

  static std::uint32_t amount(std::uint64_t n) noexcept {
    return n > max() ? max() + 1 : static_cast<std::uint32_t>(n);  // too many stay too many
  }
  place::request request(std::uint64_t n) noexcept { return {this, amount(n)}; }

  static permits finish(async_semaphore& from, wait_status how, std::uint32_t n) noexcept;

  line line_;
};

// Holds permits of one semaphore, or nothing. May be moved between threads, split and merged.
class [[nodiscard("gives back when it is destroyed")]] async_semaphore::permits
    : public detail::ownership<async_semaphore::permits, async_semaphore> {
public:
  permits() = default;
  // Preconditions: the caller has n permits, which no guard holds: see release().
  permits(async_semaphore& from, std::uint32_t n, std::adopt_lock_t) noexcept
      : ownership(from), count_(n) {}
  permits(permits&& other) noexcept
      : ownership(std::move(other)), count_(std::exchange(other.count_, 0)) {}
  permits& operator=(permits&& other) noexcept {
    permits(std::move(other)).swap(*this);  // what *this held is given back
    return *this;
  }
  ~permits() {
    if (owned_ != nullptr) let_go(*std::exchange(owned_, nullptr));
  }

  // Returns: how many it holds; 0 if it owns nothing.
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] async_semaphore* semaphore() const noexcept { return owned_; }

  // Effects: gives all of them back. The semaphore is not touched after they are visible.
  // Preconditions: owns_lock().
  void give_back() noexcept {
    if (owned_ == nullptr) {
      detail::misuse("async_semaphore::permits::give_back: holds none; ask owns_lock() first");
    }
    let_go(*std::exchange(owned_, nullptr));
  }
  // Effects: gives n of them back. Preconditions: n <= count().
  void give_back(std::uint32_t n) noexcept { split(n).give_back(); }

  // Effects: n of them go to a guard of their own. Preconditions: owns_lock(), n <= count().
  [[nodiscard("gives back when it is destroyed")]] permits split(std::uint32_t n) noexcept {
    if (owned_ == nullptr || n > count_) {
      detail::misuse("async_semaphore::permits: fewer are held than are split off or given back");
    }
    count_ -= n;
    return permits(*owned_, n, std::adopt_lock);
  }

  // Effects: takes over what the other one holds, if anything.
  // Preconditions: both of the same semaphore, unless one holds nothing.
  void merge(permits&& other) noexcept {
    if (other.owned_ == nullptr) return;
    if (owned_ == nullptr) {
      *this = std::move(other);
      return;
    }
    if (owned_ != other.owned_) {
      detail::misuse("async_semaphore::permits::merge: they are of different semaphores");
    }
    other.owned_ = nullptr;
    count_ += std::exchange(other.count_, 0);
  }

  // Effects: gives up ownership without giving back: somebody else does so by
  //          async_semaphore::release(n), or nobody, and the semaphore has fewer from now on.
  // Returns: how many it held.
  [[nodiscard("give them back by async_semaphore::release")]] std::uint32_t release() noexcept {
    owned_ = nullptr;
    return std::exchange(count_, 0);
  }

  void swap(permits& other) noexcept {
    swap_owned(other);
    std::swap(count_, other.count_);
  }
  friend void swap(permits& a, permits& b) noexcept { a.swap(b); }

private:
  friend async_semaphore;
  friend detail::ownership<permits, async_semaphore>;

  explicit permits(wait_status refused) noexcept : ownership(refused) {}
  void let_go(async_semaphore& from) noexcept { from.release(std::exchange(count_, 0)); }

  std::uint32_t count_ = 0;
};

// ------------------------------------------------------------------------------------------------
// How it works stands in detail/permit_queue.hpp: a word that says how many are there and whether
// somebody is in line, and the line. While somebody is, nobody takes permits past it; so the one
// at the head collects what is given back until it has enough, and the others wait behind it.
//
// The tempting wrong ones: to let small ones pass the large one at the head (it starves); to count
// down first and queue if the result is negative (a wait that is cancelled has to count up again,
// and races with the release that has counted on it: kotlinx.coroutines#2380, tokio#1898).

inline async_semaphore::permits async_semaphore::finish(async_semaphore& from, wait_status how,
                                                        std::uint32_t n) noexcept {
  return how == wait_status::acquired ? permits(from, n, std::adopt_lock) : permits(how);
}

inline async_semaphore::permits async_semaphore::try_acquire(std::uint64_t n) noexcept {
  return finish(*this, line_.try_take(amount(n)), amount(n));
}

inline async_semaphore::permits async_semaphore::acquire_blocking(std::uint64_t n) noexcept {
  return finish(*this, line_.wait(amount(n), nullptr), amount(n));
}

inline async_semaphore::permits async_semaphore::acquire_blocking_until(
    std::chrono::steady_clock::time_point deadline, std::uint64_t n) noexcept {
  return finish(*this, line_.wait(amount(n), &deadline), amount(n));
}

}  // namespace interlock
