// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_queue.hpp - the keys of a mirror that are in line: those that are ready,
// in order, and those that wait for their time. Has no lock.

#include "alarm_heap.hpp"
#include "mirror_key.hpp"
#include "ring.hpp"

namespace interlock::detail {

template <class Version>
class mirror_queue {
public:
  using key = mirror_key<Version>;
  using time_point = typename key::time_point;

  bool any_ready() const noexcept { return !ready_.empty(); }
  // Returns: when the first of those that are not ready is due; max: never.
  time_point first_due() const noexcept {
    return due_.first() == nullptr ? time_point::max() : due_.first()->deadline;
  }
  bool empty() const noexcept { return ready_.empty() && due_.first() == nullptr; }

  // Preconditions: it is in neither.
  void make_ready(key& k) noexcept {
    k.at = mirror_place::ready;
    ready_.push_back(k);
  }
  void wait_until(key& k, time_point when) noexcept {
    k.at = mirror_place::timed;
    k.due.emplace(when, k);
    due_.add(*k.due);
  }

  // Preconditions: any_ready().
  key& take() noexcept { return ready_.pop_front(); }
  // Effects: the first whose time has come is ready. Returns: false if there is none.
  bool promote(time_point now) noexcept {
    if (first_due() > now || due_.first() == nullptr) return false;
    key& k = first_timed();
    due_.remove(*k.due);
    make_ready(k);
    return true;
  }
  // Returns: whether it was in one of them.
  bool remove(key& k) noexcept {
    if (k.at == mirror_place::ready) ready_.remove(k);
    if (k.at == mirror_place::timed) due_.remove(*k.due);
    return k.at == mirror_place::ready || k.at == mirror_place::timed;
  }

  template <class F>
  void for_each(F f) noexcept {
    for (key* each = ready_.first(); each != nullptr; each = ready_.after(*each)) f(*each);
    ring_of<key> timed;
    while (due_.first() != nullptr) {
      key& k = first_timed();
      due_.remove(*k.due);
      timed.push_back(k);
    }
    while (!timed.empty()) {
      key& k = timed.pop_front();
      due_.add(*k.due);
      f(k);
    }
  }

private:
  key& first_timed() const noexcept {
    return *static_cast<mirror_due<Version>&>(*due_.first()).of;
  }

  ring_of<key> ready_;
  alarm_heap due_;
};

}  // namespace interlock::detail
