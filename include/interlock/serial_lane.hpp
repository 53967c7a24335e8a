// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/serial_lane.hpp - a serial queue in 8 bytes: one for each object, if need be.
//
// Problem     A million objects, each of whose tasks must not overlap and must keep their order. A
//             mutex in each takes 40 bytes and keeps no order; a strand takes 150.
// Guarantee   A lane is one word. No two tasks of a lane run at once. Those that were queued run in
//             the order in which they were queued. Each accepted task runs. What a task returns or
//             throws reaches the caller of run. After close a lane accepts nothing.
// Progress    run, drain: blocking. try_run: never waits. post: lock-free, as that of serial_queue;
//             whoever finds the lane idle does work, for others up to 64 tasks and on until
//             somebody comes.
// Cost        8 bytes. Idle: run and post are two CAS around your function. Busy: one CAS; a posted
//             task of up to 64 bytes allocates nothing once the threads have blocks.
// Lifetime    The destructor closes and drains; it costs a load if the lane is idle.
// Not for     Bounds, stops, deadlines, executors, coroutines, numbers: that is serial_queue. Lanes
//             that only some of the keys need at a time: keyed_serial_queue has none for idle keys.
//
// Example     struct account {  // examples/serial_lane.cpp
//               long balance = 0;
//               serial_lane lane;
//             };
//             alice.lane.run([&] { alice.balance -= 30; });

#include <memory>
#include <type_traits>
#include <utility>

#include "detail/lane.hpp"

namespace interlock {

class serial_lane : detail::lane<serial_lane> {
  using base = detail::lane<serial_lane>;
  friend base;

public:
  serial_lane() = default;
  // Effects: close(), then drain(). Terminates if called by a task of this lane.
  ~serial_lane() {
    if (is_idle()) return;
    close();
    drain();
  }

  // Effects: runs f, on this thread if the lane is idle, else in its turn while this thread waits.
  // Returns: what f returns. Throws: what f throws; system_error with broken_pipe (closed) or
  // resource_deadlock_would_occur (called by a task of this lane, or in a circle of lanes).
  using base::run;
  // Returns: an optional of what f returned; true if that is void. Empty, false: f has not run.
  using base::try_run;

  // Effects: has a copy of f run, at once and on this thread if the lane is idle. What the copy
  //          throws ends the program.
  // Returns: accepted or closed. Throws: std::invalid_argument if f is empty.
  template <class F>
  [[nodiscard("a closed lane refuses the task")]] post_result post(F&& f) {
    using task = std::decay_t<F>;
    detail::refuse_coroutine<task>();
    detail::refuse_nothing(f);
    if (enter() || enter_soon()) {
      turn mine{*this};
      try {
        const detail::inside here(this);
        task now(std::forward<F>(f));
        mine.how = detail::attempt(now, options());
      } catch (...) {
        mine.end(detail::ending::none);  // as in run()
        throw;
      }
      return post_result::accepted;
    }
    auto node = std::make_unique<detail::posted_work<task>>(std::forward<F>(f));
    detail::work* const queued = node.release();  // it frees itself once it is done
    if (push_and_attend(*queued)) return post_result::accepted;
    node.reset(static_cast<detail::posted_work<task>*>(queued));
    return post_result::closed;
  }

  // Effects: refuses all further work. What was accepted still runs.
  using base::close;
  using base::closed;
  // Effects: blocks until all that was accepted before has ended.
  // Throws: system_error with resource_deadlock_would_occur if called by a task of this lane.
  using base::drain;

private:
  static constexpr std::uint32_t quantum = 64;

  // What the lane asks of who has it: see detail/lane.hpp.
  detail::ending perform(detail::work& w) noexcept {
    const detail::inside here(this);
    return w.perform(w, &options(), detail::work::step::run);
  }
  static void count(detail::ending) noexcept {}
  static std::uint32_t help() noexcept { return quantum; }
  static bool schedule(detail::batch&) noexcept { return false; }
  static bool offers() noexcept { return true; }
  static void settle() noexcept {}
  static void take_from_line(detail::batch&) noexcept {}
  static bool strict() noexcept { return false; }
  static void note(detail::work&) noexcept {}
  static void forget(detail::work&) noexcept {}
  static const queue_options& options() noexcept {
    static const queue_options plain;
    return plain;
  }
};

static_assert(sizeof(serial_lane) == sizeof(void*), "a lane is its word");

}  // namespace interlock
