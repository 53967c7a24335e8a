// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_submission.hpp - what co_await queue.submit(key, f) does, for waiting<>.
//
// The work lies in the frame of the coroutine that awaits it. If f gives an awaitable, a coroutine
// of ours awaits that and holds the key until it is done, so nothing else of the key starts.

#include <atomic>
#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "../run_result.hpp"
#include "awaitable.hpp"
#include "key_lanes.hpp"
#include "misuse.hpp"
#include "waiting.hpp"

namespace interlock::detail {

// What submit(key, f) gives: f's result, or that of the awaitable which f returns.
template <class R>
struct submitted_for_key {
  using type = R;
  static constexpr bool awaits = false;
};
template <awaitable R>
struct submitted_for_key<R> {
  using type = await_result_t<R>;
  static constexpr bool awaits = true;
};

[[noreturn]] inline void throw_refused_work(wait_status why) {
  if (why == wait_status::closed) throw_closed();
  throw_error(std::errc::operation_canceled,
              "interlock: cancel_pending() came before this task had started");
}

// Ends: whether a stop or a deadline may end the wait; then it gives a run_result.
template <class Lanes, class Key, class F, bool Ends>
class key_submission : public coroutine_waiter {
  using what_f_gives = submitted_for_key<std::invoke_result_t<F>>;
  using value = typename what_f_gives::type;
  using standing = key_arrival::standing;

public:
  struct request {
    Lanes* lanes;
    mutable Key key;  // moved from by who makes a place of it
    mutable F f;
    std::uint64_t hash;
  };

  key_submission(const request& what, wake_function function)
      : coroutine_waiter(function),
        lanes_(*what.lanes),
        key_(std::move(what.key)),
        function_(std::move(what.f)) {
    work_.hash = what.hash;
  }
  key_submission(const key_submission&) = delete;
  key_submission& operator=(const key_submission&) = delete;
  ~key_submission() {
    if (!suspended || lanes_.end(work_, status, wait_status::cancelled)) return;
    if (trampoline::forget(*this)) return;
    misuse(
        "a coroutine was destroyed while a keyed_serial_queue does its task, or another thread was "
        "about to resume it; destroy it where its task is queued or has ended");
  }
  request what() const {
    return {&lanes_, std::move(key_), std::move(*function_), work_.hash};
  }

  bool try_now() noexcept {
    if (what_f_gives::awaits || lanes_.by_crew()) return false;
    typename Lanes::turn now(lanes_);
    if (!enter()) return failure_ != nullptr;
    start();
    lanes_.leave(work_, how_, now);
    return true;
  }

  bool suspend() noexcept {
    suspended = true;
    bool here = false;  // whether it has ended in this call; else this may be gone
    return begin(here) && !here;
  }

  void end(wait_status why) noexcept {
    if (lanes_.end(work_, status, why)) wake();
  }

  decltype(auto) finish() {
    suspended = false;
    if (failure_) std::rethrow_exception(failure_);
    if constexpr (Ends) {
      using given = run_result<value>;
      if (status != wait_status::acquired) return given(status);
      if constexpr (std::is_void_v<value>) {
        outcome_.take();
        return given();
      } else {
        return given(outcome_.take());
      }
    } else {
      if (status != wait_status::acquired) throw_refused_work(status);
      return unwrapped();
    }
  }

private:
  struct work : keyed_work<Key> {
    work(key_submission& its, const Key& key) noexcept
        : keyed_work<Key>(key_work::kind::awaited, &perform_it, key), place(its) {}
    key_submission& place;
  };

  // A coroutine that awaits what f gave, on behalf of the key.
  struct detached {
    struct promise_type {
      detached get_return_object() const noexcept { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
      void unhandled_exception() const noexcept { std::terminate(); }
    };
  };

  // GCC 12 would keep a temporary of a reference type otherwise.
  value unwrapped() { return outcome_.take(); }

  // Returns: false if it was refused, with the status that says why.
  bool begin(bool& here) noexcept {
    Lanes& lanes = lanes_;  // this may be gone when the key is unlocked
    typename Lanes::turn now(lanes);
    const key_arrival arrived = admit();
    if (arrived.how == standing::ended) return false;
    if (arrived.how == standing::closed) {
      status = wait_status::closed;
      return false;
    }
    if (arrived.how == standing::runner) starting_ = &here;
    lanes.settle(arrived, nullptr, now);
    return true;
  }
  bool enter() noexcept {
    try {
      return lanes_.enter(work_);
    } catch (...) {  // of Equal
      failure_ = std::current_exception();
      return false;
    }
  }
  key_arrival admit() noexcept {
    try {
      return lanes_.admit(work_, lanes_.by_crew());
    } catch (...) {  // of Equal
      failure_ = std::current_exception();
      return {standing::ended};
    }
  }

  static ending perform_it(key_work& self, const queue_options*, key_work::step now) noexcept {
    auto& place = static_cast<work&>(self).place;
    if (now == key_work::step::finish) {
      if (place.ended_in_suspend_ == nullptr) {
        place.wake();
      } else {
        *place.ended_in_suspend_ = true;
      }
      return ending::none;
    }
    if (now == key_work::step::cancel) {
      place.status = wait_status::cancelled;
      place.function_.reset();
      return ending::cancelled;
    }
    bool* const starting = std::exchange(place.starting_, nullptr);
    const ending how = place.start();
    if (how != ending::suspended) place.ended_in_suspend_ = starting;
    return how;
  }

  // Returns: how it has ended, or suspended if it has not: then this may be gone.
  ending start() noexcept {
    if constexpr (what_f_gives::awaits) {
      lanes_.hold(work_);
      try {
        await(*this);
      } catch (...) {
        return outcome_.run([]() -> value { throw; });
      }
      // order: acq_rel [key_submission.start] pairs with [key_submission.await]: the second of the two goes on
      return met_.exchange(true, std::memory_order_acq_rel) ? how_ : ending::suspended;
    } else {
      how_ = outcome_.run(std::move(*function_));
      function_.reset();
      return how_;
    }
  }

  static detached await(key_submission& place) {
    try {
      if constexpr (std::is_void_v<value>) {
        co_await std::invoke(std::move(*place.function_));
        place.how_ = place.outcome_.run([] {});
      } else {
        value got = co_await std::invoke(std::move(*place.function_));
        place.how_ = place.outcome_.run([&]() -> value { return std::forward<value>(got); });
      }
    } catch (...) {
      place.how_ = place.outcome_.run([]() -> value { throw; });
    }
    place.function_.reset();
    // order: acq_rel [key_submission.await] pairs with [key_submission.start]: the second of the two goes on
    if (place.met_.exchange(true, std::memory_order_acq_rel)) {
      place.lanes_.resumed(place.work_, place.how_);
    }
  }

  Lanes& lanes_;
  mutable Key key_;
  mutable std::optional<F> function_;  // destroyed as soon as it has run
  work work_{*this, key_};
  result<value> outcome_;
  std::exception_ptr failure_;
  bool* starting_ = nullptr;
  bool* ended_in_suspend_ = nullptr;
  ending how_ = ending::none;
  std::atomic<bool> met_{false};
};

}  // namespace interlock::detail
