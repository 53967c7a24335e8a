// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/lock_all.hpp - own several mutexes at once, whatever order others name them in.
//
// Problem     One locks A then B, another B then A: each holds what the other one waits for.
// Guarantee   All who take several mutexes by lock_all get them whatever order they name them in.
//             A lock of all is had whole or not at all.
//             Who waits for several gets each of them in its turn and so all of them.
//             What is held when a wait is refused is given back.
//             A chain of a hundred thousand locks of all needs no deep stack.
//             Locking all allocates nothing.
// Progress    As the mutexes. try_lock_all: never blocks.
// Cost        One lock after the other. In a coroutine one resumption, not one for each.
// Lifetime    The mutexes outlive the call and its guard.
// Resumes on  The thread that hands over the last one, or ends the wait: as the mutex's lock().
// Cancellation By a stop token or a deadline, on any thread: nothing is held then. A coroutine that
//             waits may be destroyed as one that waits for a mutex.
// Not for     Who holds a mutex already and wants more: unlock it first. A lock of all holds some
//             while it waits for the next, and closes a circle with whoever locks one by one in
//             another order than that of the addresses (tracked_async_mutex reports it).
//
// Example     task<> move_money(account& from, account& to, int amount) {  // examples/lock_all.cpp
//               const auto both = co_await lock_all(from.door, to.door);
//               from.balance -= amount;
//               co_await audit(amount);  // nobody sees the money between the accounts
//               to.balance += amount;
//             }

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <mutex>
#include <tuple>
#include <type_traits>
#include <utility>

#include "async_mutex.hpp"
#include "async_shared_mutex.hpp"
#include "detail/misuse.hpp"
#include "detail/ownership.hpp"
#include "detail/tracked_with_all.hpp"
#include "detail/waiting.hpp"

namespace interlock {

namespace detail {

// How a coroutine waits to own a mutex alone.
template <class Mutex, bool Leaves>
struct lock_place_of;
template <bool Leaves>
struct lock_place_of<async_mutex, Leaves> {
  using type = mutex_place<Leaves>;
};
template <bool Leaves>
struct lock_place_of<async_shared_mutex, Leaves> {
  using type = shared_place<async_shared_mutex::guard, Leaves>;
};

template <class Mutex>
concept locked_with_others = requires { typename lock_place_of<Mutex, false>::type; };

template <class... Mutexes>
struct mutexes_in_order;
template <bool Leaves, class... Mutexes>
class lock_all_place;

}  // namespace detail

// Owns all of these mutexes, or none of them. May be moved between threads.
template <class First, class... Rest>
class [[nodiscard("the guard unlocks when it is destroyed")]] guard_of_all
    : public detail::ownership<guard_of_all<First, Rest...>, First> {
  using owner = detail::ownership<guard_of_all, First>;
  using mutexes = std::tuple<First*, Rest*...>;

public:
  guard_of_all() = default;
  // Preconditions: the caller owns the mutexes, through guards that were release()d.
  guard_of_all(std::adopt_lock_t, First& first, Rest&... rest) noexcept
      : guard_of_all(mutexes(&first, &rest...)) {}
  guard_of_all(guard_of_all&& other) noexcept : owner(std::move(other)), all_(other.all_) {}
  guard_of_all& operator=(guard_of_all&& other) noexcept {
    guard_of_all(std::move(other)).swap(*this);  // what *this owned is unlocked
    return *this;
  }
  ~guard_of_all() {
    if (this->owned_ != nullptr) unlock();
  }

  // Effects: unlocks all. Preconditions: owns_lock().
  void unlock() noexcept {
    if (this->owned_ == nullptr) {
      detail::misuse("guard_of_all::unlock: owns nothing; ask owns_lock() first");
    }
    std::apply([](auto*... each) { (unlock_one(*each), ...); }, release());
  }

  // Effects: gives up ownership without unlocking. Returns: what was owned, if owns_lock().
  [[nodiscard("adopt it in another guard")]] std::tuple<First*, Rest*...> release() noexcept {
    this->owned_ = nullptr;
    return std::exchange(all_, mutexes());
  }
  // Effects: gives up ownership to guards of the single mutexes, so as to unlock one before the
  //          others. Preconditions: owns_lock(). Returns: them, in the order of the call.
  [[nodiscard("the guards unlock when they are destroyed")]]
  std::tuple<typename First::guard, typename Rest::guard...> split() noexcept {
    if (this->owned_ == nullptr) {
      detail::misuse("guard_of_all::split: owns nothing; ask owns_lock() first");
    }
    return std::apply(
        [](First* first, Rest*... rest) {
          return std::tuple<typename First::guard, typename Rest::guard...>(
              typename First::guard(*first, std::adopt_lock),
              typename Rest::guard(*rest, std::adopt_lock)...);
        },
        release());
  }

  void swap(guard_of_all& other) noexcept {
    this->swap_owned(other);
    std::swap(all_, other.all_);
  }
  friend void swap(guard_of_all& a, guard_of_all& b) noexcept { a.swap(b); }

private:
  friend owner;
  template <class...>
  friend struct detail::mutexes_in_order;

  explicit guard_of_all(const mutexes& all) noexcept : owner(*std::get<0>(all)), all_(all) {}
  explicit guard_of_all(wait_status refused) noexcept : owner(refused) {}

  template <class Mutex>
  static void unlock_one(Mutex& held) noexcept {
    const typename Mutex::guard gone(held, std::adopt_lock);
  }
  static void let_go(First&) noexcept {}  // the destructor has done it

  mutexes all_{};
};

// ------------------------------------------------------------------------------------------------
// All are locked one after the other in the order of their addresses, and kept while the next one
// is waited for: E. W. Dijkstra's resource hierarchy; J. W. Havender, "Avoiding deadlock in
// multitasking systems" (IBM Systems Journal, 1968). Who waits for a mutex holds but lower ones, so
// who waits for the highest of all that are waited for waits for nobody who waits.
//
// std::lock tries and backs off instead: it holds nothing while it waits, so no order of others can
// close a circle (H. Hinnant, "Dining philosophers rebooted"). That needs mutexes which are
// free now and then. These hand over: one with a queue is never free, a try never succeeds, and who
// backs off starves (tests/lock_all.test.cpp shows it). In order, each wait has its turn.

namespace detail {

template <class... Mutexes>
struct mutexes_in_order {
  using guard = guard_of_all<Mutexes...>;
  static constexpr std::size_t count = sizeof...(Mutexes);
  using index = unsigned char;

  explicit mutexes_in_order(Mutexes&... mutexes) : all(&mutexes...) {
    const std::array<const void*, count> at{&mutexes...};
    for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<index>(i);
    std::sort(order.begin(), order.end(),
              [&](index i, index k) { return std::less<const void*>()(at[i], at[k]); });
    for (std::size_t i = 1; i < count; ++i) {
      if (at[order[i - 1]] == at[order[i]]) {
        misuse("lock_all: one mutex is named twice; name each of them once");
      }
    }
  }

  // Effects: f(element) for the i-th element in order, of a tuple that is parallel to `all`.
  template <class Tuple, class F>
  auto at(Tuple& tuple, std::size_t i, F f) const {
    return pick(tuple, order[i], f, std::make_index_sequence<count>());
  }

  // Effects: locks all by `lock(mutex)`, which gives a guard, in order.
  template <class Lock>
  guard lock_by(Lock lock) const {
    for (std::size_t i = 0; i < count; ++i) {
      const wait_status how = at(all, i, [&](auto* mutex) {
        auto held = lock(*mutex);
        return release_to_all(held);
      });
      if (how == wait_status::acquired) continue;
      unlock_first(i);
      return guard(how);
    }
    return owned();
  }
  void unlock_first(std::size_t held) const noexcept {
    while (held-- > 0) {
      at(all, held, [](auto* mutex) { guard::unlock_one(*mutex); });
    }
  }
  guard owned() const noexcept {
    tell_kept(all);
    return guard(all);
  }
  static guard refused(wait_status how) noexcept { return guard(how); }

  std::tuple<Mutexes*...> all;
  std::array<index, count> order{};

private:
  template <class Tuple, class F, std::size_t... I>
  static auto pick(Tuple& tuple, std::size_t which, F& f, std::index_sequence<I...>) {
    using result = decltype(f(std::get<0>(tuple)));
    if constexpr (std::is_void_v<result>) {
      ((which == I ? static_cast<void>(f(std::get<I>(tuple))) : void()), ...);
    } else {
      result r{};
      ((which == I ? static_cast<void>(r = f(std::get<I>(tuple))) : void()), ...);
      return r;
    }
  }
};

// A coroutine that waits for several, one after the other: at each it has a place. The last one
// resumes it; a wait that is refused gives back what is held, in a turn of its own, since that lets
// others in, who may be refused as well.
template <bool Leaves, class... Mutexes>
class lock_all_place : public coroutine_waiter {
public:
  using request = mutexes_in_order<Mutexes...>;
  static constexpr bool owns = true;

  lock_all_place(const request& what, wake_function function) noexcept
      : lock_all_place(what, function, std::index_sequence_for<Mutexes...>()) {}
  lock_all_place(const lock_all_place&) = delete;
  lock_all_place& operator=(const lock_all_place&) = delete;

  ~lock_all_place() {
    if (!suspended) return;
    const bool waits = phase_ == phase::waits;  // at one of them: ~step leaves it
    for (std::size_t i = 0; i < request::count; ++i) {
      if (!waits || i != at_) step_at(i, [](auto& one) { one.suspended = false; });
    }
    if (!waits && !(phase_ == phase::goes_on ? trampoline::forget(*this)
                                             : step_at(at_, [](auto& one) {
                                                 return trampoline::forget(one);
                                               }))) {
      misuse(
          "lock_all: a coroutine was destroyed while another thread was about to resume it; "
          "destroy it where nobody can end its wait meanwhile");
    }
    what_.unlock_first(at_);
  }

  request what() const noexcept { return what_; }

  bool try_now() noexcept {
    auto held = what_.lock_by([](auto& mutex) { return mutex.try_lock(); });
    if (!held) return false;
    static_cast<void>(held.release());
    return true;
  }
  bool suspend() noexcept {
    suspended = true;
    tell_who_asks(steps_, continuation);
    if (go_on_from(0)) return true;
    suspended = false;
    if (status != wait_status::acquired) what_.unlock_first(at_);
    return false;
  }
  // Each place is told: the one at which it waits, and those to which it has not come; the others
  // know better. What that wakes goes on when all are told: see proceed().
  void end(wait_status why) noexcept {
    trampoline::together([this, why]() noexcept {
      for (std::size_t i = 0; i < request::count; ++i) {
        step_at(i, [why](auto& one) { one.end(why); });
      }
    });
  }
  auto finish() noexcept {
    suspended = false;
    for (std::size_t i = 0; i < request::count; ++i) {
      step_at(i, [](auto& one) { one.suspended = false; });
    }
    return status == wait_status::acquired ? what_.owned() : request::refused(status);
  }

private:
  template <class Mutex>
  struct start {
    Mutex* mutex;
    lock_all_place* whole;
  };
  template <class Mutex>
  struct step : lock_place_of<Mutex, Leaves>::type {
    explicit step(const start<Mutex>& from) noexcept
        : lock_place_of<Mutex, Leaves>::type(from.mutex, &woken), whole(*from.whole) {}
    static void woken(waiter& node) noexcept {
      const auto& self = static_cast<step&>(static_cast<coroutine_waiter&>(node));
      self.whole.proceed(self.status);
    }
    lock_all_place& whole;
  };

  template <std::size_t... I>
  lock_all_place(const request& what, wake_function function, std::index_sequence<I...>) noexcept
      : coroutine_waiter(function),
        what_(what),
        steps_(start<Mutexes>{std::get<I>(what.all), this}...) {}

  template <class F>
  auto step_at(std::size_t i, F f) noexcept {
    return what_.at(steps_, i, f);
  }

  // Effects: takes them in order from this one on, until it has to wait at `at_`.
  // Returns: true if it waits: it may be gone; false if `status` says how it ended.
  bool go_on_from(std::size_t i) noexcept {
    for (at_ = i; at_ < request::count; ++at_) {
      if (step_at(at_, [](auto& one) { return one.suspend(); })) return true;
      status = step_at(at_, [](auto& one) { return one.status; });
      if (status != wait_status::acquired) return false;
    }
    return false;
  }

  // Effects: goes on from the place that was woken.
  void proceed(wait_status how) noexcept {
    if (phase_ == phase::gives_back) {
      what_.unlock_first(std::exchange(at_, 0));
    } else {
      status = how;
      if (how == wait_status::acquired && go_on_from(at_ + 1)) return;
      if (status != wait_status::acquired) {  // also with nothing to give back: end() is at it
        phase_ = phase::gives_back;
        return step_at(at_, [](auto& one) { trampoline::resume(one); });
      }
    }
    phase_ = phase::goes_on;
    this->wake();
  }

  enum class phase : unsigned char {
    waits,       // at `at_`, or is on its way to the next one
    gives_back,  // was refused at `at_`, and has its turn to unlock those before it
    goes_on      // owns all or nothing, and is about to be resumed
  };

  const request what_;
  std::tuple<step<Mutexes>...> steps_;
  std::size_t at_ = 0;  // so many are held
  phase phase_ = phase::waits;
};

// Calls f(mutexes in order, stop_end...) for arguments of which the last may be a stop token.
template <class F, class... Args>
auto with_mutexes(F f, Args&&... args) {
  constexpr std::size_t all = sizeof...(Args);
  using last = std::remove_cvref_t<std::tuple_element_t<all - 1, std::tuple<Args...>>>;
  constexpr bool stops = stop_token_like<last>;
  static_assert(all - stops >= 2, "lock_all locks at least two mutexes");
  const auto tied = std::forward_as_tuple(args...);
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    using given = std::tuple<std::remove_reference_t<Args>...>;
    static_assert((locked_with_others<std::tuple_element_t<I, given>> && ...),
                  "lock_all locks async_mutex and async_shared_mutex; a stop token comes last");
    const mutexes_in_order mutexes(std::get<I>(tied)...);
    if constexpr (stops) {
      return f(mutexes, stop_end<last>{std::get<all - 1>(tied)});
    } else {
      return f(mutexes);
    }
  }(std::make_index_sequence<all - stops>());
}

template <class... Mutexes, class... Ends>
auto wait_for_all(const mutexes_in_order<Mutexes...>& mutexes, Ends... ends) {
  using place = lock_all_place<sizeof...(Ends) != 0, Mutexes...>;
  return waiting<place, by_trampoline, Ends...>(mutexes, {}, std::move(ends)...);
}

}  // namespace detail

// Effects: co_await lock_all(a, b, ...) or lock_all(a, b, ..., stop) owns all of the mutexes, or
//          suspends the coroutine until it does; or until the token is asked to stop, the deadline
//          has passed, or one of them is closed or has as many waiters as it may have.
//          An async_shared_mutex is owned alone.
// Preconditions: they are different ones, at least two; the caller owns none of them, and no other
//                one that others lock together with these.
// Returns: an awaitable of a guard_of_all, which owns nothing if it was refused: see status().
template <class... Args>
[[nodiscard("write co_await")]] auto lock_all(Args&&... mutexes_and_stop) {
  return detail::with_mutexes(
      [](const auto& mutexes, auto... stop) {
        return detail::wait_for_all(mutexes, std::move(stop)...);
      },
      mutexes_and_stop...);
}
template <class Timer, class... Args>
[[nodiscard("write co_await")]] auto lock_all_until(Timer& timer,
                                                    typename Timer::time_point deadline,
                                                    Args&&... mutexes_and_stop) {
  return detail::with_mutexes(
      [&](const auto& mutexes, auto... stop) {
        return detail::wait_for_all(mutexes, std::move(stop)...,
                                    detail::deadline_end<Timer>{&timer, deadline});
      },
      mutexes_and_stop...);
}

// Effects: the same for a thread, which blocks. Preconditions: also, not called by a coroutine.
template <class... Mutexes>
[[nodiscard("the guard unlocks when it is destroyed")]] guard_of_all<Mutexes...> lock_all_blocking(
    Mutexes&... mutexes) noexcept {
  return detail::mutexes_in_order(mutexes...).lock_by([](auto& each) {
    return each.lock_blocking();
  });
}
template <class... Mutexes>
[[nodiscard("the guard unlocks when it is destroyed")]] guard_of_all<Mutexes...>
lock_all_blocking_until(std::chrono::steady_clock::time_point deadline,
                        Mutexes&... mutexes) noexcept {
  return detail::mutexes_in_order(mutexes...).lock_by([deadline](auto& each) {
    return each.lock_blocking_until(deadline);
  });
}

// Effects: takes all of them if all are free. Never blocks or suspends.
// Returns: a guard; one that timed out if one of them was not free.
template <class... Mutexes>
[[nodiscard("the guard unlocks when it is destroyed")]] guard_of_all<Mutexes...> try_lock_all(
    Mutexes&... mutexes) noexcept {
  return detail::mutexes_in_order(mutexes...).lock_by([](auto& each) { return each.try_lock(); });
}

}  // namespace interlock
