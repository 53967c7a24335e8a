// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/queue_submission.hpp - what co_await queue.submit(f) does, for waiting<>.
//
// The node lies in the frame of the coroutine that awaits it. If f gives an awaitable, a coroutine
// of ours awaits that and has the role of runner until it is done, so nothing else starts.

#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

#include "../run_result.hpp"
#include "awaitable.hpp"
#include "queue_lane.hpp"
#include "waiting.hpp"

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

// MayLeave: it stands in the line, and what it gives is a run_result.
template <class F, bool MayLeave>
class submission_place : public coroutine_waiter {
  using what_f_gives = submitted<std::invoke_result_t<F>>;
  using value = typename what_f_gives::type;

public:
  struct request {
    queue_lane* lane;
    mutable F f;  // moved from by who makes a place of it
  };

  submission_place(const request& what, wake_function function)
      : coroutine_waiter(function), lane_(*what.lane), function_(std::move(what.f)), node_(*this) {}
  submission_place(const submission_place&) = delete;
  submission_place& operator=(const submission_place&) = delete;
  ~submission_place() {
    lane_waits::instance().end(circle_);
    if (!suspended || (MayLeave && lane_.withdraw(node_, [](bool) {}))) return;
    if (trampoline::forget(*this)) return;
    misuse(
        "a coroutine was destroyed while it waits for a serial_queue, or another thread was about "
        "to resume it; destroy it where its task has not been queued or has ended");
  }
  request what() { return {&lane_, std::move(*function_)}; }

  // Effects: learns which lanes the coroutine holds, and so what it must not wait for.
  template <class Promise>
  void comes_from(std::coroutine_handle<Promise> self) {
    lane_waits& all = lane_waits::instance();
    if (!all.any_held()) return;
    all.add_held_by(self.address(), circle_.lanes);
    // A task knows who waits for it to end.
    if constexpr (requires { self.promise().for_each_caller([](const auto&) { return true; }); }) {
      self.promise().for_each_caller([&](const auto& who) {
        if (who.frame != nullptr) all.add_held_by(who.frame, circle_.lanes);
        return true;
      });
    }
    if (circle_.lanes.empty()) return;
    circle_.wanted = lane_.identity();
    circle_.news = &node_.news;
    circle_.ends = MayLeave;
    if (all.begin(circle_)) return;
    circle_.wanted = nullptr;
    would_deadlock_ = true;
  }

  bool try_now() noexcept {
    if (what_f_gives::awaits || lane_.elsewhere() || !lane_.enter()) return false;
    begin_here();
    return true;
  }

  bool suspend() {
    if (would_deadlock_) return settle(wait_status::overloaded);
    return MayLeave ? stand() : push();
  }

  void end(wait_status why) noexcept {
    const bool was_in = lane_.withdraw(node_, [&](bool listed) {
      if (!listed && (suspended || ended)) return;
      ended = true;
      status = why;
    });
    if (was_in) wake();
  }

  auto finish() {
    suspended = false;
    lane_waits::instance().end(circle_);
    circle_.wanted = nullptr;
    if (would_deadlock_) throw_would_deadlock();
    if constexpr (MayLeave) {
      using result = run_result<value>;
      if (status != wait_status::acquired) return result(status);
      if constexpr (std::is_void_v<value>) {
        outcome_.take();
        return result();
      } else {
        return result(outcome_.take());
      }
    } else {
      if (status != wait_status::acquired) throw_refused(status);
      return wrapped();
    }
  }

private:
  struct node : heir_work {
    explicit node(submission_place& its) noexcept
        : heir_work(kind::awaited, &perform_it), place(its) {}
    submission_place& place;
  };

  // A coroutine that awaits what f gave, on behalf of the lane.
  struct detached {
    struct promise_type : cached_block {
      explicit promise_type(submission_place& place) noexcept {
        place.holding_.frame =
            std::coroutine_handle<promise_type>::from_promise(*this).address();
      }
      detached get_return_object() const noexcept { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
      void unhandled_exception() const noexcept { std::terminate(); }
    };
  };

  value wrapped() { return outcome_.take(); }

  bool settle(wait_status how) noexcept {
    ended = true;
    status = how;
    return false;
  }

  bool push() {
    if (!lane_.elsewhere() && lane_.enter()) return begin_here() == ending::suspended;
    suspended = true;
    if (lane_.push_awaited(node_)) return true;
    suspended = false;
    return settle(wait_status::closed);
  }

  bool stand() noexcept {
    using entry = queue_lane::entry;
    const entry how = lane_.stand_in_line(
        node_, lane_.elsewhere(), queue_lane::when_closed, [this] { return !ended; },
        [this](entry decided) noexcept {
          suspended = decided == entry::listed;
          ended = !suspended;
        });
    if (how == entry::runner) return begin_here() == ending::suspended;
    if (how == entry::closed) status = wait_status::closed;
    return how == entry::listed;
  }

  // Preconditions: this thread has just entered the lane.
  ending begin_here() noexcept {
    queue_lane::turn mine{lane_};
    const inside here(lane_.identity());
    return mine.how = perform_it(node_, nullptr, work::step::run);
  }

  static ending perform_it(work& self, const queue_options*, work::step what_to_do) noexcept {
    submission_place& place = static_cast<node&>(self).place;
    if (what_to_do == work::step::resume) {
      place.wake();
      return ending::none;
    }
    if (what_to_do == work::step::cancel) {
      place.status = wait_status::cancelled;
      place.over(ending::cancelled);
    } else if constexpr (what_f_gives::awaits) {
      return place.start();
    } else {
      place.over(place.outcome_.run(std::move(*place.function_)));
    }
    return place.how_;
  }

  void over(ending how) noexcept {
    how_ = how;
    function_.reset();
    // order: relaxed: for lane_waits, before the next task of the lane begins
    node_.news.store(work::done, std::memory_order_relaxed);
  }

  // Returns: how the awaitable has ended, or suspended if it has not: then see await().
  ending start() noexcept {
    suspended = true;
    try {
      await(*this);
    } catch (...) {
      over(outcome_.run([]() -> value { throw; }));
      return how_;
    }
    // order: acq_rel [submission.start] pairs with [submission.await]: the second of the two goes on
    return met_.exchange(true, std::memory_order_acq_rel) ? how_ : ending::suspended;
  }

  static detached await(submission_place& place) {
    ending how = ending::none;
    place.holding_.lane = place.lane_.identity();
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
    // order: acq_rel [submission.await] pairs with [submission.start]: the second of the two goes on
    const bool second = place.met_.exchange(true, std::memory_order_acq_rel);
    if (second) place.lane_.finish(place.node_, how);
  }

  queue_lane& lane_;
  std::optional<F> function_;  // destroyed as soon as it has run
  node node_;
  result<value> outcome_;
  lane_holding holding_;
  lane_wait circle_;
  ending how_ = ending::none;
  bool would_deadlock_ = false;
  std::atomic<bool> met_{false};
};

// What co_await queue.interleaved() does: the rest of the coroutine, up to where it suspends next,
// is a task of the queue.
class [[nodiscard("write co_await")]] interleaving : work {
public:
  explicit interleaving(queue_lane& lane) noexcept
      : work(kind::resumed, &perform_it), lane_(lane) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    node_.continuation = self;
    if (!lane_.elsewhere() && lane_.enter()) {
      queue_lane& lane = lane_;  // the frame may be gone before the turn is over
      trampoline::together([self, &lane] {
        const queue_lane::turn mine{lane, ending::completed};
        const inside here(lane.identity());
        self.resume();
      });
      return true;
    }
    if (lane_.push_awaited(*this)) return true;
    status_ = wait_status::closed;
    return false;
  }
  void await_resume() const {
    if (status_ != wait_status::acquired) throw_refused(status_);
  }

private:
  static ending perform_it(work& self, const queue_options*, step what_to_do) noexcept {
    auto& waits = static_cast<interleaving&>(self);
    if (what_to_do == step::cancel) {
      waits.status_ = wait_status::cancelled;
      waits.node_.wake();  // not in the queue: see lane::serve()
      return ending::cancelled;
    }
    waits.node_.continuation.resume();  // this may be gone now
    return ending::completed;
  }

  queue_lane& lane_;
  coroutine_waiter node_;
  wait_status status_ = wait_status::acquired;
};

}  // namespace interlock::detail
