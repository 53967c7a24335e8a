// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/async_event.hpp - wait until something has happened: a gate for all, or a bell for one.
//
// Problem     A flag has to be polled. A condition that is signalled before the wait is missed; and
//             a waiter that gives up as it is signalled takes the signal along, and all sleep on.
// Guarantee   A manual-reset event that is set lets everybody in until it is reset.
//             A set of an auto-reset event lets exactly one in and is kept if nobody waits.
//             A wait that is cancelled or too late takes no set along.
//             What was done before a set is visible to whoever is let in afterwards.
//             The last one that a set lets in may destroy the event at once.
//             Waiting for an event and setting it allocate nothing.
// Progress    set while nobody waits, reset, is_set, try_wait: lock-free. set with waiters: a few
//             instructions in turn for each that it lets in. wait_blocking: blocking.
// Cost        24 bytes. A wait for a set event: a load, and if auto-reset a compare-and-swap; set:
//             both. A wait that ends early leaves in O(1).
// Lifetime    May be destroyed when nobody waits, by the last who was let in too, unless another
//             set(), reset() or close() still runs, or a thread is in wait_blocking_until(), which
//             looks at the event at its deadline. A coroutine that waits may be destroyed where
//             nobody can end its wait meanwhile, or on the thread that is about to resume it: a set
//             that it had been given alone goes to the next.
// Resumes on  The thread that sets, stops or closes: when the coroutine that runs there suspends,
//             or inside the call if none does, as on a plain thread. Or where .resume_on(executor)
//             puts it.
// Cancellation By a stop token, by a deadline of any timer, by close(); never once it was let in.
// Not for     Counting signals: async_semaphore. Waiting for a value: watermark, versioned.
//
// Example     task<> request(config& settings, int& saw_limit) {   // examples/async_event.cpp
//               const wait_status how = co_await settings.ready.wait();
//               if (how == wait_status::acquired && settings.limit == 8) ++saw_limit;
//             }

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "detail/permit_queue.hpp"
#include "detail/waiting.hpp"
#include "timer.hpp"
#include "wait_status.hpp"

namespace interlock {

enum class event_reset : unsigned char {
  manual,     // stays set until reset(): lets everybody in
  automatic,  // the one who is let in takes the set; several that nobody has taken are one
};

// The result of a wait is a wait_status: acquired if it was let in. A stop that is requested
// already: `cancelled`, and the event stays as it is. A deadline that has passed: looks once, else
// `timed_out`. A closed event: `closed`, set or not. As many waiting as may: `overloaded`.
//
// Who waits for an auto-reset event is let in in the order in which they came, threads too.
template <event_reset Reset>
class async_event {
  static constexpr bool stays = Reset == event_reset::manual;
  using line =
      detail::permit_queue<stays ? detail::permit_kind::standing : detail::permit_kind::single>;
  using place = detail::permit_place<async_event>;
  using plain_place = detail::plain_permit_place<async_event>;
  template <class Place, class... Ends>
  using waits = detail::waiting<Place, detail::by_trampoline, Ends...>;

public:
  // Effects: the event is not set.
  explicit async_event(max_waiters room = {~0U}) noexcept : line_({}, 0, room) {}
  async_event(const async_event&) = delete;
  async_event& operator=(const async_event&) = delete;
  // Preconditions: nobody waits.
  ~async_event() { line_.expect_empty("~async_event: somebody waits; set() or close() it first"); }

  // Effects: lets in all who wait, first to last, and the event is set; if it is auto-reset: the
  //          first who waits, and if nobody does, the event is set.
  // Synchronization: happens before the return of each wait that it lets in, and of the reset()
  //                  that finds the event set; also if it was set already.
  // Complexity: those who are let in.
  void set() noexcept { line_.give(1); }

  // Effects: the event is not set. Returns: true if it was.
  bool reset() noexcept { return line_.reset(); }

  // Returns: whether it is set, at one moment. Synchronization: if true, as a wait.
  [[nodiscard]] bool is_set() const noexcept { return line_.permits() != 0; }

  // Effects: as a wait that is let in, if it needs not wait. Returns: true if so.
  [[nodiscard("if true, it was let in")]] bool try_wait() noexcept {
    return line_.try_take(1) == wait_status::acquired;
  }

  // Effects: co_await wait() suspends the coroutine until it is let in.
  // Returns: an awaitable of a wait_status.
  [[nodiscard("write co_await")]] auto wait() noexcept { return waits<plain_place>(request()); }
  // Effects: the same, until a stop is requested, by any thread.
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto wait(Token stop) {
    using stopped = detail::stop_end<Token>;
    return waits<place, stopped>(request(), {}, stopped{std::move(stop)});
  }
  // Effects: the same, until the deadline; the timer outlives the wait.
  template <timer Timer>
  [[nodiscard("write co_await")]] auto wait_until(Timer& timer,
                                                  typename Timer::time_point deadline) {
    using late = detail::deadline_end<Timer>;
    return waits<place, late>(request(), {}, late{&timer, deadline});
  }
  template <timer Timer, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto wait_until(Timer& timer,
                                                  typename Timer::time_point deadline,
                                                  Token stop) {
    using stopped = detail::stop_end<Token>;
    using late = detail::deadline_end<Timer>;
    return waits<place, stopped, late>(request(), {}, stopped{std::move(stop)},
                                       late{&timer, deadline});
  }

  // Effects: blocks this thread until it is let in.
  // Preconditions: not called by a coroutine: who would set it may need this very thread.
  [[nodiscard("may be closed")]] wait_status wait_blocking() noexcept {
    return line_.wait(1, nullptr);
  }
  // Effects: the same, but not past the deadline.
  [[nodiscard("may be too late")]] wait_status wait_blocking_until(
      std::chrono::steady_clock::time_point deadline) noexcept {
    return line_.wait(1, &deadline);
  }

  // Effects: from now on no wait is let in: all who wait and all who come are told `closed`.
  //          set(), reset() and is_set() go on. A second close() does nothing.
  // Complexity: those who wait.
  void close() noexcept { line_.close(); }
  [[nodiscard]] bool closed() const noexcept { return line_.is_closed(); }

  // Returns: how many coroutines and threads wait, at one moment.
  [[nodiscard]] std::uint32_t waiters_approx() const noexcept { return line_.in_line(); }

private:
  template <class>
  friend class detail::permit_place;

  typename place::request request() noexcept { return {this, 1}; }
  static wait_status finish(async_event&, wait_status how, std::uint32_t) noexcept {
    return how;  // the event may be gone
  }

  line line_;
};

using async_manual_reset_event = async_event<event_reset::manual>;
using async_auto_reset_event = async_event<event_reset::automatic>;

}  // namespace interlock
