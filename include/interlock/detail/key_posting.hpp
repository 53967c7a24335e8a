// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_posting.hpp - what co_await queue.async_post(key, f) does, for waiting<>.

#include <coroutine>
#include <exception>
#include <new>
#include <utility>

#include "key_posts.hpp"
#include "misuse.hpp"
#include "waiting.hpp"

namespace interlock::detail {

template <class Lanes, class Key, class F>
class key_posting : public coroutine_waiter {
  using posted = posted_key_work<Key, F>;
  using standing = key_arrival::standing;

public:
  struct request {
    Lanes* lanes;
    mutable unqueued_post<posted> work;  // moved from by who makes a place of it
  };

  key_posting(const request& what, wake_function function)
      : coroutine_waiter(function), lanes_(*what.lanes), work_(std::move(what.work)) {
    seeker_.hash = work_->hash;
  }
  ~key_posting() {
    unlist();
    if (suspended && !trampoline::forget(*this) &&
        !lanes_.end(seeker_, status, wait_status::cancelled)) {
      misuse(
          "a coroutine was destroyed while a keyed_serial_queue does the task that it posts, or "
          "another thread was about to resume it; destroy it where it waits or has ended");
    }
    let_go(work_, seeker_);
  }
  request what() { return {&lanes_, std::move(work_)}; }

  static constexpr bool never_inline = true;  // a thread that works for the queue wakes it

  template <class Promise>
  void comes_from(std::coroutine_handle<Promise> self) {
    wait_.holder = &holder_of;
    wait_.ends = true;  // no step of others' circles: there might be a place
    add_held_by(self, wait_.lanes);
  }

  bool try_now() noexcept {
    const standing how = arrive(false);
    return failure_ != nullptr || how != standing::full;
  }
  bool suspend() noexcept {
    if (listed_or_free()) return arrive(true) == standing::in_line;
    would_deadlock_ = !try_now();
    return false;
  }
  void end(wait_status why) noexcept {
    if (lanes_.end(seeker_, status, why)) wake();
  }

  post_result finish() {
    suspended = false;
    unlist();
    if (would_deadlock_) throw_waits_for_itself();
    if (failure_) std::rethrow_exception(failure_);
    let_go(work_, seeker_);
    return now_ != post_result::full ? now_ : waited(status, seeker_);
  }

private:
  struct seeker : seeking_key_work<Key> {
    seeker(key_posting& its, posted& sought)
        : seeking_key_work<Key>(key_work::kind::awaited, &perform_it, sought, sought.key()),
          place(its) {}
    static ending perform_it(key_work& self, const queue_options* options,
                             key_work::step now) noexcept {
      auto& its = static_cast<seeker&>(self);
      if (now != key_work::step::finish) return its.perform_task(options, now);
      its.place.wake();
      return ending::none;
    }
    key_posting& place;
  };
  struct listed_wait : lane_wait {
    explicit listed_wait(key_posting& its) noexcept : place(its) {}
    key_posting& place;
  };

  static const void* holder_of(const lane_wait& wait) noexcept {
    const key_posting& self = static_cast<const listed_wait&>(wait).place;
    return self.lanes_.head_before(self.seeker_);
  }
  // Returns: false if it holds what would have to end before there is a place.
  bool listed_or_free() noexcept {
    if (wait_.lanes.empty()) return true;
    try {
      return listed_ = lane_waits::instance().begin(wait_);
    } catch (const std::bad_alloc&) {  // then nobody looks
      return true;
    }
  }
  void unlist() noexcept {
    if (std::exchange(listed_, false)) lane_waits::instance().end(wait_);
  }
  // Returns: full; in_line: this waits for a place, or did, and may be gone; else what it was told
  //          is in `now_`.
  standing arrive(bool waits) noexcept {
    Lanes& lanes = lanes_;
    posted& task = *work_;
    const bool rests = lanes.posts_rest();  // before this thread is at work
    typename Lanes::turn now(lanes);
    suspended = waits;
    key_arrival arrived{standing::full};
    try {
      arrived = waits ? lanes.seek(seeker_, task, rests) : lanes.admit(task, rests);
    } catch (...) {  // of Equal
      failure_ = std::current_exception();
      suspended = false;
      return standing::ended;
    }
    if (arrived.waits) {
      lanes.settle(arrived, nullptr, now);
      return standing::in_line;
    }
    suspended = false;
    if (arrived.how == standing::ended || arrived.how == standing::full) return arrived.how;
    now_ = refused(arrived.how);
    if (now_ == post_result::accepted) {
      static_cast<void>(work_.release());
      lanes.settle(arrived, nullptr, now);
    }
    return standing::closed;
  }

  Lanes& lanes_;
  unqueued_post<posted> work_;
  seeker seeker_{*this, *work_};
  listed_wait wait_{*this};
  std::exception_ptr failure_;
  post_result now_ = post_result::full;
  bool listed_ = false;
  bool would_deadlock_ = false;
};

}  // namespace interlock::detail
