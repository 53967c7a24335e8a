// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_waits.hpp - threads that do work of keys, and threads that wait meanwhile.
//
// A thread that does work of a key holds it, as one that works for a lane holds that. So its frame
// is one of those that lane_waits.hpp knows, and circles through keys, lanes of serial queues and
// coroutines are found there. What stands for a key is the work at its head: it stays that until it
// has ended, and no two keys have the same.

#include <new>
#include <utility>

#include "key_work.hpp"
#include "lane_waits.hpp"

namespace interlock::detail {

[[noreturn]] inline void throw_waits_for_itself() {
  throw_error(std::errc::resource_deadlock_would_occur,
              "interlock: a task waits for its own key, or for one whose task waits for what this "
              "one holds: none would go on; post() it to run afterwards");
}

// The queues whose work this thread does, innermost first; `which` is the head that it does now.
struct key_frame : inside {
  explicit key_frame(const void* its_queue) noexcept
      : inside(nullptr), queue(its_queue), around(std::exchange(newest, this)) {}
  ~key_frame() { pop(); }
  void pop() noexcept {
    if (newest != this) return;
    newest = around;
    inside::innermost = outer;
  }

  // Preconditions: this thread has a frame, and none inside of it.
  static void does(const key_work* head) noexcept { newest->which = head; }

  // Returns: the outermost of this queue, or nullptr.
  static key_frame* of(const void* queue) noexcept {
    key_frame* found = nullptr;
    for (key_frame* f = newest; f != nullptr; f = f->around) {
      if (f->queue == queue) found = f;
    }
    return found;
  }

  const void* const queue;
  key_frame* const around;
  bool owes = false;  // it left work at rest, and does it when its own is done
  static inline constinit thread_local key_frame* newest = nullptr;
};

// The wait of a thread for its work in the line of a key, if the thread is inside of other work.
// Lanes has head_before(work), with which the lanes say what has to end before that work begins.
template <class Lanes, class Work>
class key_wait : lane_wait {
public:
  // `may_end`: by a stop or a deadline.
  key_wait(const Lanes& its, const Work& own, bool may_end) noexcept : lanes_(its), own_(own) {
    if (inside::innermost == nullptr) return;
    holder = &holder_of;
    ends = may_end;
    thread = inside::innermost;
    try {
      listed_ = lane_waits::instance().begin(*this);
      closes_circle_ = !listed_;
    } catch (const std::bad_alloc&) {  // then nobody looks
    }
  }
  ~key_wait() {
    if (listed_) lane_waits::instance().end(*this);
  }
  key_wait(const key_wait&) = delete;
  key_wait& operator=(const key_wait&) = delete;

  bool closes_circle() const noexcept { return closes_circle_; }

private:
  static const void* holder_of(const lane_wait& wait) noexcept {
    const auto& self = static_cast<const key_wait&>(wait);
    return self.lanes_.head_before(self.own_);
  }

  const Lanes& lanes_;
  const Work& own_;
  bool listed_ = false;
  bool closes_circle_ = false;
};

}  // namespace interlock::detail
