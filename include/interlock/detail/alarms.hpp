// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/alarms.hpp - the alarms of a timer: armed and destroyed on any thread, called on
// the one that tells the time.

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "alarm_heap.hpp"
#include "callback_turn.hpp"
#include "futex_mutex.hpp"
#include "misuse.hpp"
#include "waiter.hpp"

namespace interlock::detail {

class alarms {
public:
  using time_point = alarm_node::time_point;

  explicit alarms(time_point now) noexcept : now_(now) {}
  alarms(const alarms&) = delete;
  alarms& operator=(const alarms&) = delete;

  time_point now() const noexcept {
    const std::lock_guard lock(mutex_);
    return now_;
  }
  // Effects: what now() tells. Not back.
  void set_now(time_point now) noexcept {
    const std::lock_guard lock(mutex_);
    if (now_ < now) now_ = now;
  }

  enum class added { due, listed, is_awaited };

  // Effects: lists the alarm, unless it is due.
  // Returns: is_awaited if whoever sleeps has to be woken, because it is earlier than what he
  //          sleeps for.
  added add(alarm_node& fresh) noexcept {
    const std::lock_guard lock(mutex_);
    if (fresh.deadline <= now_) return added::due;
    heap_.add(fresh);
    if (sleeps_until_ <= fresh.deadline) return added::listed;
    sleeps_until_ = fresh.deadline;
    return added::is_awaited;
  }

  // Effects: takes it off; waits if another thread is calling it.
  void remove(alarm_node& gone) noexcept {
    thread_waiter self;
    {
      const std::lock_guard lock(mutex_);
      if (heap_.remove(gone) || !turn_.must_wait(&gone, self)) return;
    }
    self.wait();
  }

  // Effects: calls what is due by then, first to last. One thread at a time does.
  void call_due(time_point by) noexcept {
    for (alarm_node* each = first_due(by); each != nullptr;) {
      each->call(*each);  // it may be gone now
      waiter* leaver = nullptr;
      each = next_due(leaver);
      if (leaver != nullptr) leaver->wake();
    }
  }

  // Returns: the first deadline, if it is not behind `by`.
  std::optional<time_point> first(time_point by) const noexcept {
    const std::lock_guard lock(mutex_);
    if (heap_.first() == nullptr || by < heap_.first()->deadline) return std::nullopt;
    return heap_.first()->deadline;
  }
  // Returns: the first deadline, or time_point::max(), for one who is about to sleep until then and
  //          to call_due() after that.
  time_point sleep() noexcept {
    const std::lock_guard lock(mutex_);
    sleeps_until_ = heap_.first() == nullptr ? time_point::max() : heap_.first()->deadline;
    return sleeps_until_;
  }

  // Effects: calls misuse(sentence) if there are any.
  void expect_empty(const char* sentence) const noexcept {
    const std::lock_guard lock(mutex_);
    if (heap_.first() != nullptr) misuse(sentence);
  }

private:
  alarm_node* first_due(time_point by) noexcept {
    const std::lock_guard lock(mutex_);
    if (now_ < by) now_ = by;
    sleeps_until_ = time_point::min();
    return take_due();
  }
  alarm_node* next_due(waiter*& leaver) noexcept {
    const std::lock_guard lock(mutex_);
    leaver = turn_.end();
    return take_due();
  }
  alarm_node* take_due() noexcept {
    alarm_node* const next = heap_.first();
    if (next == nullptr || now_ < next->deadline) return nullptr;
    heap_.remove(*next);
    turn_.begin(next);
    return next;
  }

  mutable futex_mutex mutex_;
  // All under mutex_.
  alarm_heap heap_;
  callback_turn turn_;
  time_point now_;
  time_point sleeps_until_ = time_point::min();  // min: is awake
};

// The alarm of a timer with `bool arm(alarm_node&)`, false if it is due, and disarm(alarm_node&).
template <class Timer, class F>
class alarm_of : private alarm_node {
public:
  // Effects: calls f at the deadline: on a thread of the timer's, or here if it has passed.
  alarm_of(Timer& timer, time_point at, F f) noexcept
      : alarm_node(at, &call_this), timer_(&timer), f_(std::move(f)) {
    if (timer.arm(*this)) return;
    timer_ = nullptr;
    f_();
  }
  alarm_of(const alarm_of&) = delete;
  alarm_of& operator=(const alarm_of&) = delete;
  // Effects: calls it off. If another thread is calling f, waits until it returns.
  ~alarm_of() {
    if (timer_ != nullptr) timer_->disarm(*this);
  }

private:
  static void call_this(alarm_node& self) noexcept { static_cast<alarm_of&>(self).f_(); }

  Timer* timer_;
  F f_;
};

}  // namespace interlock::detail
