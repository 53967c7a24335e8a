// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/async_condition.hpp - wait for what an async_mutex protects to become true.
//
// Problem     A condition variable of threads stalls the event loop. One for coroutines that wakes
//             them inside notify deadlocks, and one that can be cancelled loses a notification.
// Guarantee   Whoever waits has left the mutex and misses no notification from then on.
//             A wait ends as the owner of the mutex however it ended.
//             A notification goes to one who waits and never to one who gave up.
//             A wait with a predicate ends when it holds and never before.
//             A coroutine is resumed once it owns the mutex and not before.
//             Waiting and notifying allocate nothing.
// Progress    notify: a few steps in turn with those who begin or end a wait. wait_blocking:
//             blocking.
// Cost        8 bytes. A notified coroutine queues at the mutex without being resumed.
// Lifetime    May be destroyed when each wait has given its result: to be notified is not enough.
//             The mutex outlives the waits.
// Resumes on  The thread that hands it the mutex, as async_mutex::lock(). Predicates run there too,
//             in turn with the coroutines of that thread.
// Cancellation By a stop token or a deadline, on any thread; it queues at the mutex then, and owns
//             it when it goes on. A coroutine that waits may be destroyed as one that waits for the
//             mutex; if it was notified, another one is notified instead.
// Not for     Events that happen once (use async_event), numbers (use async_semaphore).
//
// Example     // examples/async_condition.cpp
//             task<int> take(mailbox& from, inplace_stop_token stop) {
//               auto held = co_await from.door.lock();
//               const auto filled = [&] { return !from.letters.empty(); };
//               const wait_status how = co_await from.filled.wait(held, filled, stop);
//               if (how != wait_status::acquired) co_return 0;
//               const int letter = from.letters.front();
//               from.letters.pop_front();
//               co_return letter;
//             }

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <type_traits>
#include <utility>

#include "async_mutex.hpp"
#include "detail/misuse.hpp"
#include "detail/procession.hpp"
#include "detail/wait_queue.hpp"
#include "detail/waiting.hpp"

namespace interlock {

namespace detail {
struct any_notification {};  // instead of a predicate

// How far a wait is, in waiter::amount, which changes with the queue locked.
struct condition_stage {
  static constexpr std::uint32_t listed = 0;
  static constexpr std::uint32_t notified_alone = 1;
  static constexpr std::uint32_t notified_with_all = 2;
  static constexpr std::uint32_t given_up = 3;
};

template <class Predicate, bool Leaves>
class condition_place;
}  // namespace detail

class async_condition {
public:
  using guard = async_mutex::guard;

  constexpr async_condition() noexcept = default;
  async_condition(const async_condition&) = delete;
  async_condition& operator=(const async_condition&) = delete;
  // Preconditions: nobody waits.
  ~async_condition() {
    waiting_.expect_empty(
        "~async_condition: somebody waits for it; notify_all(), and let every wait end");
  }

  // Effects: co_await wait(held) unlocks the mutex, suspends the coroutine until it is notified,
  //          the token is asked to stop or the deadline has passed, and locks the mutex again.
  // Preconditions: held.owns_lock(); `held` stays where it is. All who wait at one time hold the
  //                same mutex.
  // Returns: an awaitable of a wait_status: acquired if it was notified, else cancelled or
  //          timed_out. The guard owns the mutex again; unless that refused, which the status and
  //          the guard say: closed, or overloaded if it has a bound. A notification that ends so is
  //          used up. The guard then wants to be asked, as any that was refused: if (!held).
  template <detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto wait(guard& held, Token... stop) {
    return wait_with(held, detail::any_notification(),
                     detail::stop_end<Token>{std::move(stop)}...);
  }
  template <class Timer, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto wait_until(Timer& timer, typename Timer::time_point deadline,
                                                  guard& held, Token... stop) {
    return wait_with(held, detail::any_notification(), detail::stop_end<Token>{std::move(stop)}...,
                     detail::deadline_end<Timer>{&timer, deadline});
  }

  // Effects: the same until the predicate holds. It is called by an owner of the mutex: before the
  //          wait, after a notification, and after a stop or the deadline.
  // Preconditions: it can be copied, waits for nothing and throws nothing (std::terminate).
  // Returns: as above; acquired if the predicate holds, whatever ended the wait. Cancelled at once
  //          if the token was asked to stop before.
  template <std::predicate Predicate, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto wait(guard& held, Predicate holds, Token... stop) {
    return wait_with(held, std::move(holds), detail::stop_end<Token>{std::move(stop)}...);
  }
  template <class Timer, std::predicate Predicate, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto wait_until(Timer& timer, typename Timer::time_point deadline,
                                                  guard& held, Predicate holds, Token... stop) {
    return wait_with(held, std::move(holds), detail::stop_end<Token>{std::move(stop)}...,
                     detail::deadline_end<Timer>{&timer, deadline});
  }

  // Effects: the same for a thread, which blocks.
  // Preconditions: as above; not called by a coroutine.
  wait_status wait_blocking(guard& held) noexcept { return block_once(held, nullptr); }
  template <std::predicate Predicate>
  wait_status wait_blocking(guard& held, Predicate holds) noexcept {
    return block(held, holds, nullptr);
  }
  [[nodiscard]] wait_status wait_blocking_until(std::chrono::steady_clock::time_point deadline,
                                                guard& held) noexcept {
    return block_once(held, &deadline);
  }
  template <std::predicate Predicate>
  [[nodiscard]] wait_status wait_blocking_until(std::chrono::steady_clock::time_point deadline,
                                                guard& held, Predicate holds) noexcept {
    return block(held, holds, &deadline);
  }

  // Effects: ends the wait of the one that has waited longest, if anybody waits. The mutex may be
  //          held or not. The condition is not touched once another one may go on.
  void notify_one() noexcept;
  // Effects: ends the waits of all who wait now, in the order in which they came.
  void notify_all() noexcept;

private:
  template <class, bool>
  friend class detail::condition_place;

  template <class Predicate, class... Ends>
  auto wait_with(guard& held, Predicate holds, Ends... ends) {
    static_assert(sizeof...(Ends) <= 2, "one stop token is enough");
    using place = detail::condition_place<Predicate, sizeof...(Ends) != 0>;
    return detail::waiting<place, detail::by_trampoline, Ends...>(
        typename place::request{this, &held, std::move(holds)}, {}, std::move(ends)...);
  }
  static void expect_owner(const guard& held) noexcept {
    if (held.mutex() == nullptr) {
      detail::misuse("async_condition::wait: the guard owns no mutex; lock it first");
    }
  }
  wait_status block_once(guard& held,
                         const std::chrono::steady_clock::time_point* deadline) noexcept;
  template <class Predicate>
  wait_status block(guard& held, Predicate& holds,
                    const std::chrono::steady_clock::time_point* deadline) noexcept;

  detail::wait_queue waiting_;
};

// ------------------------------------------------------------------------------------------------
// A wait is listed before the mutex is unlocked, so no notification is missed; and a notification
// takes a node off the list, so a stop that comes later finds none, and one that came earlier has
// taken it: one of both. That is all there is to a notification that is never lost.
//
// Whoever ends the wait queues the coroutine at the mutex, on its behalf, with no queue locked. The
// hand-over resumes it. So notify_all wakes nobody who would only wait again, and a predicate that
// does not hold costs no resumption.

namespace detail {

template <class Predicate, bool Leaves>
class condition_place : public coroutine_waiter, private condition_stage {
  static constexpr bool has_predicate = !std::is_same_v<Predicate, any_notification>;

public:
  struct request {
    async_condition* condition;
    async_mutex::guard* held;
    Predicate holds;
  };
  static constexpr bool owns = true;  // the mutex; and the condition outlives the wait

  condition_place(const request& what, wake_function function)
      : coroutine_waiter(&ended_by_others), what_(what), go_on_(function), again_(*this) {}
  condition_place(const condition_place&) = delete;
  condition_place& operator=(const condition_place&) = delete;

  ~condition_place() {
    if (!suspended) return;
    if (amount == listed) {
      wait_queue::locked waiting(what_.condition->waiting_);
      if (waiting.remove(*this)) return;
    }
    if (ready_) {
      if (!trampoline::forget(*this)) {
        misuse(
            "async_condition: a coroutine was destroyed while another thread was about to resume "
            "it; destroy it where nobody can end its wait meanwhile");
      }
      const async_mutex::guard held = again_.finish();  // unlocks
      static_cast<void>(held.owns_lock());
    }
    // Else it waits for the mutex, or for its turn to call the predicate: ~again_ leaves.
    if (amount == notified_alone) what_.condition->notify_one();
  }

  request what() const { return what_; }

  bool try_now() noexcept {
    async_condition::expect_owner(*what_.held);
    return holds();
  }
  bool suspend() noexcept {
    if constexpr (!Leaves) {
      if (try_now()) return false;
    }
    async_condition::expect_owner(*what_.held);
    async_mutex::guard held;
    wait_queue::locked waiting(what_.condition->waiting_);
    if (!waiting.enlist(*this)) return false;
    held = std::move(*what_.held);  // unlocks last, when this may be gone
    return true;
  }
  void end(wait_status why) noexcept {
    {
      wait_queue::locked waiting(what_.condition->waiting_);
      if (ended) return;
      ended = true;
      why_ = why;
      if (!waiting.remove(*this)) {
        if (!suspended) status = why;  // not in yet, or for good
        return;
      }
      amount = given_up;
      status = why;
    }
    wake();
  }
  wait_status finish() noexcept {
    if (!std::exchange(suspended, false)) return status;
    *what_.held = again_.finish();
    return again_.status == wait_status::acquired ? status : again_.status;
  }

private:
  // Its place at the mutex; also the step in which the predicate is called.
  struct second_lock : mutex_place<false> {
    explicit second_lock(condition_place& place) noexcept
        : mutex_place(place.what_.held->mutex(), &locked_again), whole(place) {}
    condition_place& whole;
  };

  bool holds() noexcept {
    if constexpr (has_predicate) {
      return what_.holds();
    } else {
      return false;
    }
  }

  static void ended_by_others(waiter& node) noexcept {
    auto& self = static_cast<condition_place&>(node);
    self.again_.ended = false;  // a bounded mutex sets it; it may be the second time
    if (self.again_.suspend()) return;  // it may be gone
    self.again_.suspended = true;       // from here on as if it had been
    locked_again(self.again_);
  }

  static void locked_again(waiter& node) noexcept {
    condition_place& self = static_cast<second_lock&>(node).whole;
    if constexpr (has_predicate) {
      self.in_turn_ = !self.in_turn_;
      if (self.in_turn_) return trampoline::resume(self.again_);
      if (self.again_.status == wait_status::acquired && self.waits_on()) return;
    }
    self.ready_ = true;
    self.go_on_(self);
  }

  // Preconditions: owns the mutex. Returns: true if it was listed again: it may be gone.
  bool waits_on() noexcept {
    if (holds()) {
      status = wait_status::acquired;
      return false;
    }
    async_mutex::guard held;
    wait_queue::locked waiting(what_.condition->waiting_);
    amount = listed;
    if (!waiting.enlist(*this)) {
      amount = given_up;
      status = why_;
      return false;
    }
    held = again_.finish();  // unlocks last
    return true;
  }

  request what_;  // the predicate may change what it holds
  const wake_function go_on_;
  second_lock again_;
  wait_status why_ = wait_status::acquired;  // what came first of the ends, if `ended`
  bool in_turn_ = false;                     // is about to call the predicate
  bool ready_ = false;                       // owns the mutex, or was refused; is about to go on
};

}  // namespace detail

inline void async_condition::notify_one() noexcept {
  detail::waiter* first = nullptr;
  {
    detail::wait_queue::locked waiting(waiting_);
    if (waiting.empty()) return;
    first = &waiting.pop_front();
    first->amount = detail::condition_stage::notified_alone;
    first->status = wait_status::acquired;
  }
  first->wake();
}

inline void async_condition::notify_all() noexcept {
  detail::procession all;
  {
    detail::wait_queue::locked waiting(waiting_);
    while (!waiting.empty()) {
      detail::waiter& each = waiting.pop_front();
      each.amount = detail::condition_stage::notified_with_all;
      each.status = wait_status::acquired;
      all.add(each);
    }
  }
  all.wake();
}

inline wait_status async_condition::block_once(
    guard& held, const std::chrono::steady_clock::time_point* deadline) noexcept {
  expect_owner(held);
  async_mutex& mutex = *held.mutex();
  detail::thread_waiter self;
  {
    guard leaving;
    detail::wait_queue::locked waiting(waiting_);
    waiting.enlist(self);
    leaving = std::move(held);  // unlocks last
  }
  const wait_status how = detail::wait_in(waiting_, self, deadline, [](auto&) {});
  held = mutex.lock_blocking();
  return held.mutex() != nullptr ? how : held.status();
}

template <class Predicate>
wait_status async_condition::block(guard& held, Predicate& holds,
                                   const std::chrono::steady_clock::time_point* deadline) noexcept {
  expect_owner(held);
  while (!holds()) {
    const wait_status how = block_once(held, deadline);
    if (how == wait_status::acquired) continue;
    return how == wait_status::timed_out && holds() ? wait_status::acquired : how;
  }
  return wait_status::acquired;
}

}  // namespace interlock
