// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/submitted.hpp - what a coroutine has submitted: the call of f in its turn, and
// the end of what f gives, if that is an awaitable.

#include <atomic>
#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "../run_result.hpp"
#include "awaitable.hpp"
#include "lane_waits.hpp"

namespace interlock::detail {

// What submit(f) gives: f's result, or that of the awaitable which f returns.
template <class R>
struct submitted {
  using type = R;
  static constexpr bool awaits = false;
};
template <awaitable R>
struct submitted<R> {
  using type = await_result_t<R>;
  static constexpr bool awaits = true;
};

[[noreturn]] inline void throw_refused(wait_status why) {
  if (why == wait_status::closed) throw_closed();
  throw_error(std::errc::operation_canceled,
              "interlock: cancel_pending() came before this task had started");
}

// Returns: what has run to its end, as a run_result. Throws: what it threw.
template <class R>
run_result<R> ran_with(result<R>& outcome) {
  if constexpr (std::is_void_v<R>) {
    outcome.take();
    return {};
  } else {
    return run_result<R>(outcome.take());
  }
}

[[noreturn]] inline void throw_full() {
  throw_error(std::errc::resource_unavailable_try_again,
              "interlock: the queue is full and takes no task; post_wait() waits for room");
}

// Effects: gives what has run to a std::promise.
template <class R, class Promise>
void give_to(Promise& promise, result<R>& outcome) {
  try {
    if constexpr (std::is_void_v<R>) {
      outcome.take();
      promise.set_value();
    } else {
      promise.set_value(outcome.take());
    }
  } catch (...) {
    promise.set_exception(std::current_exception());
  }
}

// Place derives from it and has, both noexcept:
//   const void* held() const    the lane that f has while it runs, or what stands for its key
//   void resumed(ending how)    goes on after an awaitable that had suspended; the last touch
template <class Place, class F>
class submitted_call {
  using what_f_gives = submitted<std::invoke_result_t<F>>;

public:
  using value = typename what_f_gives::type;
  static constexpr bool awaits = what_f_gives::awaits;

  submitted_call(const submitted_call&) = delete;
  submitted_call& operator=(const submitted_call&) = delete;

protected:
  explicit submitted_call(F&& f) : function_(std::move(f)) {}
  ~submitted_call() = default;

  F take_function() { return std::move(*function_); }

  // Returns: how it has ended, or suspended if it has not: then this may be gone.
  ending call() noexcept {
    if constexpr (awaits) {
      try {
        await(static_cast<Place&>(*this));
      } catch (...) {
        return over(outcome_.run([]() -> value { throw; }));
      }
      // order: acq_rel [submitted.call] pairs with [submitted.await]: the second of the two goes on
      return met_.exchange(true, std::memory_order_acq_rel) ? how_ : ending::suspended;
    } else {
      return over(outcome_.run(std::move(*function_)));
    }
  }
  ending over(ending how) noexcept {
    function_.reset();
    return how_ = how;
  }

  // What the coroutine gets that awaits it. Ends: the wait could have ended early.
  template <bool Ends>
  using answer = std::conditional_t<Ends, run_result<value>, value>;
  template <bool Ends>
  answer<Ends> given(wait_status status) {
    if constexpr (Ends) {
      if (status != wait_status::acquired) return run_result<value>(status);
      return ran_with(outcome_);
    } else {
      if (status != wait_status::acquired) throw_refused(status);
      return outcome_.take();
    }
  }

  // Preconditions: wait_ says for what. Effects: lists it, with what the coroutine holds that
  //                waits, if it holds anything. Returns: false if it would never end.
  template <class Promise>
  bool list_wait(std::coroutine_handle<Promise> self) {
    add_held_by(self, wait_.lanes);
    if (!wait_.lanes.empty()) listed_ = lane_waits::instance().begin(wait_);
    return wait_.lanes.empty() || listed_;
  }
  // Effects: call this first in the destructor: `wait_` may lead to what Place has.
  void unlist_wait() noexcept {
    if (std::exchange(listed_, false)) lane_waits::instance().end(wait_);
  }

  // The wait of whatever kind: `holder` gets it.
  struct submitted_wait : lane_wait {
    explicit submitted_wait(submitted_call& its) noexcept : call(its) {}
    submitted_call& call;
  };
  static const Place& of_wait(const lane_wait& wait) noexcept {
    return static_cast<const Place&>(static_cast<const submitted_wait&>(wait).call);
  }
  submitted_wait wait_{*this};

private:
  // A coroutine that awaits what f gave, on behalf of who has the turn.
  struct detached {
    struct promise_type : cached_block {
      explicit promise_type(Place& place) noexcept {
        place.holding_.frame = std::coroutine_handle<promise_type>::from_promise(*this).address();
      }
      detached get_return_object() const noexcept { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
      void unhandled_exception() const noexcept { std::terminate(); }
    };
  };

  static detached await(Place& place) {
    ending how = ending::none;
    place.holding_.lane = place.held();
    lane_waits::instance().hold(place.holding_);
    try {
      if constexpr (std::is_void_v<value>) {
        co_await std::invoke(std::move(*place.function_));
        how = place.outcome_.run([] {});
      } else {
        value got = co_await std::invoke(std::move(*place.function_));
        how = place.outcome_.run([&]() -> value { return std::forward<value>(got); });
      }
    } catch (...) {
      how = place.outcome_.run([]() -> value { throw; });
    }
    lane_waits::instance().let_go(place.holding_);
    place.over(how);
    // order: acq_rel [submitted.await] pairs with [submitted.call]: the second of the two goes on
    if (place.met_.exchange(true, std::memory_order_acq_rel)) place.resumed(how);
  }

  std::optional<F> function_;  // destroyed as soon as it has run
  result<value> outcome_;
  lane_holding holding_;
  bool listed_ = false;
  ending how_ = ending::none;
  std::atomic<bool> met_{false};
};

}  // namespace interlock::detail
