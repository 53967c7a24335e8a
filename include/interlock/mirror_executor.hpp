// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/mirror_executor.hpp - a mirror's writes on your executor, its waits by your timer.
//
// Problem     Write-behind with a thread of its own, in a program that has an event loop or a pool.
// Guarantee   Each job is given to the executor once, when its delay has passed and not before.
//             What is late when the executor object ends is called off.
//             A job that the executor refuses after its delay runs on the timer's thread.
// Progress    As the executor's and the timer's. A lock for a few instructions.
// Cost        An allocation for each wait that is begun; mirrors begin few.
// Lifetime    Outlives the mirrors; the executor and the timer outlive this.
// Not for     Executors that run what they get inside the call: a mirror's own threads do that.
//             Ones that take callables of 16 bytes only: they get a std::function<void()>.
//
// Example     timer_thread timer;                          // examples/keyed_mirror.cpp
//             mirror_executor on(timer, run);  // run(job): a loop's, a pool's
//             const rows::options how{.schedule = on.schedule(), .now = on.clock()};
//             rows copies(read, save, how);

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "detail/futex_mutex.hpp"
#include "detail/parking.hpp"
#include "detail/ring.hpp"
#include "executor.hpp"
#include "timer.hpp"

namespace interlock {

// Timer: one that tells the time, as timer_thread and manual_timer do.
template <timer Timer, class Executor>
  requires executor<Executor> && requires(Timer& clock) {
    { clock.now() } -> std::same_as<std::chrono::steady_clock::time_point>;
  }
class mirror_executor {
  using kept = detail::kept_executor<Executor>;
  using job = std::function<void()>;

public:
  mirror_executor(Timer& clock, Executor&& to)
      : timer_(&clock), to_(kept::of(std::forward<Executor>(to))) {}
  mirror_executor(const mirror_executor&) = delete;
  mirror_executor& operator=(const mirror_executor&) = delete;
  // Effects: calls off what waits for its time, and waits until the timer does not ring here.
  // Preconditions: its mirrors have ended.
  ~mirror_executor() {
    for (wait* each = take_first(); each != nullptr; each = take_first()) delete each;
    while (const std::uint32_t ringing = count_of_ringing()) detail::park(ringing_, ringing);
  }

  // Returns: what mirror_options::schedule and mirror_options::now are to be.
  [[nodiscard]] auto schedule() {
    return [this](std::chrono::nanoseconds delay, job what) {
      if (delay <= std::chrono::nanoseconds(0)) {
        detail::hand_to(to_, std::move(what));
      } else {
        begin(delay, std::move(what));
      }
    };
  }
  [[nodiscard]] auto clock() const {
    return [timer = timer_] { return timer->now(); };
  }

private:
  struct wait {
    struct call {
      wait* self;
      void operator()() const noexcept { self->from->ring(*self); }
    };
    wait(mirror_executor& home, job given) : from(&home), what(std::move(given)) {}

    mirror_executor* from;
    job what;
    bool rang = false;  // under the lock
    wait* next = nullptr;
    wait* previous = nullptr;
    std::optional<typename Timer::template alarm<call>> alarm;
  };

  void begin(std::chrono::nanoseconds delay, job what) {
    auto fresh = std::make_unique<wait>(*this, std::move(what));
    fresh->alarm.emplace(*timer_, timer_->now() + delay, typename wait::call{fresh.get()});
    {
      const std::lock_guard lock(mutex_);
      if (!fresh->rang) return waits_.push_back(*fresh.release());
    }
    detail::hand_to(to_, std::move(fresh->what));  // refused: the caller does it
  }

  // By the timer, which may do so before begin() has armed the alarm.
  void ring(wait& due) noexcept {
    {
      const std::lock_guard lock(mutex_);
      due.rang = true;
      if (!waits_.remove(due)) return;  // begin() sees to it, or it is called off just now
      add_ringing(1);
    }
    hand(std::move(due.what));
    delete &due;
    const detail::park_word* const word = &ringing_;
    {
      const std::lock_guard lock(mutex_);
      add_ringing(-1U);
    }
    detail::unpark_all(word);
  }

  void hand(job what) noexcept {
    try {
      detail::hand_to(to_, job(what));
    } catch (...) {
      what();
    }
  }

  wait* take_first() noexcept {
    const std::lock_guard lock(mutex_);
    return waits_.empty() ? nullptr : &waits_.pop_front();
  }

  std::uint32_t count_of_ringing() noexcept {
    const std::lock_guard lock(mutex_);
    // order: relaxed: under the lock
    return ringing_.load(std::memory_order_relaxed);
  }
  void add_ringing(std::uint32_t by) noexcept {
    // order: relaxed: under the lock, which the destructor takes to look
    ringing_.fetch_add(by, std::memory_order_relaxed);
  }

  Timer* timer_;
  typename kept::type to_;
  detail::futex_mutex mutex_;
  detail::park_word ringing_{0};  // calls of the timer that have a wait in hand; under mutex_
  detail::ring_of<wait> waits_;  // under mutex_
};

template <class Timer, class Executor>
mirror_executor(Timer&, Executor&&) -> mirror_executor<Timer, Executor>;

}  // namespace interlock
