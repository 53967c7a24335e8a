// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_submission.hpp - what co_await queue.submit(key, f) does, for waiting<>.
//
// The work lies in the frame of the coroutine that awaits it. If f gives an awaitable, a coroutine
// of ours awaits that and holds the key until it is done, so nothing else of the key starts.

#include <coroutine>
#include <exception>
#include <utility>

#include "key_lanes.hpp"
#include "misuse.hpp"
#include "submitted.hpp"
#include "waiting.hpp"

namespace interlock::detail {

// Ends: whether a stop or a deadline may end the wait; then it gives a run_result.
template <class Lanes, class Key, class F, bool Ends>
class key_submission : public coroutine_waiter,
                       public submitted_call<key_submission<Lanes, Key, F, Ends>, F> {
  using base = submitted_call<key_submission, F>;
  friend base;
  using standing = key_arrival::standing;

public:
  struct request {
    Lanes* lanes;
    mutable Key key;  // moved from by who makes a place of it
    mutable F f;
    std::uint32_t hash;
  };

  key_submission(const request& what, wake_function function)
      : coroutine_waiter(function),
        base(std::move(what.f)),
        lanes_(*what.lanes),
        key_(std::move(what.key)) {
    work_.hash = what.hash;
  }
  ~key_submission() {
    this->unlist_wait();
    if (!suspended || trampoline::forget(*this)) return;  // the queue may be gone then
    if (lanes_.end(work_, status, wait_status::cancelled)) return;
    misuse(
        "a coroutine was destroyed while a keyed_serial_queue does its task, or another thread was "
        "about to resume it; destroy it where its task is queued or has ended");
  }
  request what() {
    return {&lanes_, std::move(key_), this->take_function(), work_.hash};
  }

  template <class Promise>
  void comes_from(std::coroutine_handle<Promise> self) {
    this->wait_.holder = &holder_of;
    this->wait_.ends = Ends;
    would_deadlock_ = !this->list_wait(self);
  }

  bool try_now() noexcept {
    if (base::awaits || lanes_.by_crew()) return false;
    typename Lanes::turn now(lanes_);
    if (!enter()) return failure_ != nullptr;
    lanes_.leave(work_, this->call(), now);
    return true;
  }

  bool suspend() noexcept {
    if (would_deadlock_) return false;
    suspended = true;
    bool here = false;  // whether it has ended in this call; else this may be gone
    return begin(here) && !here;
  }

  void end(wait_status why) noexcept {
    if (lanes_.end(work_, status, why)) wake();
  }

  typename base::template answer<Ends> finish() {
    suspended = false;
    this->unlist_wait();
    if (would_deadlock_) throw_waits_for_itself();
    if (failure_) std::rethrow_exception(failure_);
    return this->template given<Ends>(status);
  }

private:
  struct work : keyed_work<Key> {
    work(key_submission& its, const Key& key) noexcept
        : keyed_work<Key>(key_work::kind::awaited, &perform_it, key), place(its) {}
    key_submission& place;
  };

  static const void* holder_of(const lane_wait& wait) noexcept {
    const auto& self = base::of_wait(wait);
    return self.lanes_.head_before(self.work_);
  }
  const void* held() const noexcept { return static_cast<const key_work*>(&work_); }
  void resumed(ending how) noexcept { lanes_.resumed(work_, how); }

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
      return place.over(ending::cancelled);
    }
    bool* const starting = std::exchange(place.starting_, nullptr);
    const ending how = place.call();
    if (how != ending::suspended) place.ended_in_suspend_ = starting;
    return how;
  }

  Lanes& lanes_;
  Key key_;
  work work_{*this, key_};
  std::exception_ptr failure_;
  bool* starting_ = nullptr;
  bool* ended_in_suspend_ = nullptr;
  bool would_deadlock_ = false;
};

}  // namespace interlock::detail
