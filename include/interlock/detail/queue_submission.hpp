// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/queue_submission.hpp - what co_await queue.submit(f) does, for waiting<>.
//
// The node lies in the frame of the coroutine that awaits it. If f gives an awaitable, a coroutine
// of ours awaits that and has the role of runner until it is done, so nothing else starts.

#include <coroutine>
#include <utility>

#include "queue_lane.hpp"
#include "submitted.hpp"
#include "waiting.hpp"

namespace interlock::detail {

// MayLeave: it stands in the line, and what it gives is a run_result.
template <class F, bool MayLeave>
class submission_place : public coroutine_waiter,
                         public submitted_call<submission_place<F, MayLeave>, F> {
  using base = submitted_call<submission_place, F>;
  friend base;

public:
  struct request {
    queue_lane* lane;
    mutable F f;  // moved from by who makes a place of it
  };

  submission_place(const request& what, wake_function function)
      : coroutine_waiter(function), base(std::move(what.f)), lane_(*what.lane), node_(*this) {}
  ~submission_place() {
    this->unlist_wait();
    // Who is about to go on here, or was dropped by an executor, may have outlived the lane.
    if (!suspended || trampoline::forget(*this)) return;
    if (MayLeave && lane_.withdraw(node_, [](bool) {})) return;
    misuse(
        "a coroutine was destroyed while it waits for a serial_queue, or another thread was about "
        "to resume it; destroy it where its task has not been queued or has ended");
  }
  request what() { return {&lane_, this->take_function()}; }

  static constexpr bool never_inline = true;  // it is woken by the runner

  template <class Promise>
  void comes_from(std::coroutine_handle<Promise> self) {
    this->wait_.wanted = lane_.identity();
    this->wait_.news = &node_.news;
    this->wait_.ends = MayLeave;
    would_deadlock_ = !this->list_wait(self);
  }

  bool try_now() noexcept {
    if (base::awaits || lane_.elsewhere() || !lane_.enter()) return false;
    begin_here();
    return true;
  }

  bool suspend() {
    if (would_deadlock_) return false;
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

  typename base::template answer<MayLeave> finish() {
    suspended = false;
    this->unlist_wait();
    if (would_deadlock_) throw_would_deadlock();
    return this->template given<MayLeave>(status);
  }

private:
  struct node : heir_work {
    explicit node(submission_place& its) noexcept
        : heir_work(kind::awaited, &perform_it), place(its) {}
    submission_place& place;
  };

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
    if (how == entry::runner) {
      lane_.forget(node_);  // it was in no line
      return begin_here() == ending::suspended;
    }
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
      return place.ends(place.over(ending::cancelled));
    }
    if constexpr (base::awaits) place.suspended = true;
    const ending how = place.call();
    return how == ending::suspended ? how : place.ends(how);  // if that, it may be gone
  }

  ending ends(ending how) noexcept {
    // order: relaxed: for lane_waits, before the next task of the lane begins
    node_.news.store(work::done, std::memory_order_relaxed);
    return how;
  }

  const void* held() const noexcept { return lane_.identity(); }
  void resumed(ending how) noexcept { lane_.finish(node_, ends(how)); }

  queue_lane& lane_;
  node node_;
  bool would_deadlock_ = false;
};

// What co_await queue.interleaved() does: the rest of the coroutine, up to where it suspends next,
// is a task of the queue.
class [[nodiscard("write co_await")]] interleaving : work {
public:
  explicit interleaving(queue_lane& lane) noexcept
      : work(kind::resumed, &perform_it), lane_(lane) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    node_.continuation = self;
    trampoline::resume(entry_);  // not inside of the queue that it leaves by this
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

  struct entry : coroutine_waiter {
    explicit entry(interleaving& its) noexcept : coroutine_waiter(&step), who(its) {}
    static void step(waiter& self) noexcept {
      static_cast<entry&>(static_cast<coroutine_waiter&>(self)).who.come_in();
    }
    interleaving& who;
  };

  void come_in() noexcept {
    if (!lane_.elsewhere() && lane_.enter()) {
      queue_lane& lane = lane_;  // the frame may be gone before the turn is over
      trampoline::together([self = node_.continuation, &lane] {
        const queue_lane::turn mine{lane, ending::completed};
        const inside here(lane.identity());
        self.resume();
      });
    } else if (!lane_.push_awaited(*this)) {
      status_ = wait_status::closed;
      node_.wake();
    }
  }

  queue_lane& lane_;
  coroutine_waiter node_;
  entry entry_{*this};
  wait_status status_ = wait_status::acquired;
};

}  // namespace interlock::detail
