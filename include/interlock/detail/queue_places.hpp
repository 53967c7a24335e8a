// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/queue_places.hpp - the places of a queue with a bound, and who waits for one.
//
// Who waits stands in the line of the permits (see permit_queue.hpp). Where there are many places
// the runner gives them back some at a time, or each of them would wake somebody.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lane_waits.hpp"
#include "permit_queue.hpp"
#include "stoppable.hpp"

namespace interlock::detail {

class queue_places {
public:
  explicit queue_places(std::size_t capacity) noexcept
      : capacity_(capacity), line_({most(capacity)}, most(capacity), {~0U}) {}

  bool bounded() const noexcept { return capacity_ != SIZE_MAX; }
  std::uint32_t at_a_time() const noexcept { return capacity_ < 512 ? 1 : 64; }

  post_result take() noexcept { return result(line_.try_take(1), post_result::full); }
  void give(std::uint32_t n) noexcept {
    if (bounded() && n != 0) line_.give(n);
  }
  void close() noexcept {
    if (bounded()) line_.close();
  }

  // Effects: waits for a place, at most until the deadline or the stop.
  // Throws: if this thread would wait for ever.
  template <class Stop>
  post_result wait(const void* lane, const std::chrono::steady_clock::time_point* deadline,
                   const Stop& stop) {
    const post_result now = take();
    if (now != post_result::full) return now;
    thread_waiter self;
    self.amount = 1;
    if (line_.join(self)) {
      blocked_inside listed;
      list(listed, lane, self, can_stop<Stop> || deadline != nullptr);
      trampoline::run_ready();  // see lane::push_and_wait()
      const auto end_it = [&]() noexcept { line_.end(self, wait_status::cancelled); };
      std::optional<typename stop_callback_of<Stop, decltype(end_it)>::type> on_stop;
      or_leave(self, [&] { on_stop.emplace(stop, end_it); });
      if (deadline != nullptr && !self.wait_until(*deadline)) {
        line_.end(self, wait_status::timed_out);
      }
      self.wait();
    }
    return result(self.status, post_result::timed_out);
  }

  static post_result result(wait_status how, post_result not_now) noexcept {
    switch (how) {
      case wait_status::acquired: return post_result::accepted;
      case wait_status::cancelled: return post_result::cancelled;
      case wait_status::closed: return post_result::closed;
      case wait_status::timed_out: break;
      case wait_status::overloaded: break;
    }
    return not_now;
  }

private:
  template <class>
  friend class permit_place;
  static wait_status finish(queue_places&, wait_status how, std::uint32_t) noexcept { return how; }

  static std::uint32_t most(std::size_t capacity) noexcept {
    return static_cast<std::uint32_t>(std::min<std::size_t>(capacity, ~0U - 1));
  }

  // Effects: notes the wait of who stands in the line: not before, when there might be a place.
  // Throws: if it would never end; then, as behind any throw, nobody stands in the line.
  void list(blocked_inside& wait, const void* lane, thread_waiter& self, bool ends) {
    or_leave(self, [&] {
      if (wait.begin(lane, self.wakes(), 1, ends)) return;
      line_.end(self, wait_status::cancelled);
      self.wait();
      if (self.status == wait_status::cancelled) throw_would_deadlock();
    });
  }
  // Effects: f(). Where that throws nobody stands in the line, and no place is lost.
  template <class F>
  void or_leave(thread_waiter& self, F f) {
    try {
      f();
    } catch (...) {
      line_.end(self, wait_status::cancelled);  // no effect if it has ended
      self.wait();
      if (self.status == wait_status::acquired) give(1);
      throw;
    }
  }

  const std::size_t capacity_;
  permit_queue<permit_kind::counted> line_;  // named as permit_place wants it
};

// Effects: f(), which makes what is to have a place. Where that throws the place is given back: not
// on the way out, where the exception would be in flight while others go on.
template <class F>
void or_give_back(queue_places& places, F f) {
  try {
    f();
  } catch (...) {
    places.give(1);
    throw;
  }
}

}  // namespace interlock::detail
