// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/queue_calls.hpp - calls of a serial_queue that end early, and the nodes of
// posted tasks that can be cancelled, that have a future, or that wait for a place.

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <utility>

#include "queue_lane.hpp"
#include "submitted.hpp"
#include "waiting.hpp"

namespace interlock::detail {

// Effects: what serial_queue::run does, but ends with the stop or behind the deadline if f has not
//          begun by then.
template <class F, class Stop>
run_result<std::invoke_result_t<F>> run_ending(
    queue_lane& lane, F&& f, const std::chrono::steady_clock::time_point* deadline,
    const Stop& stop) {
  using value = std::invoke_result_t<F>;
  refuse_coroutine<F>();
  if (stop.stop_requested()) return run_result<value>(wait_status::cancelled);
  called_work<F> node(f);
  const blocked_inside listed(lane.identity(), node.news, true);
  const auto how =
      lane.stand_in_line(node, false, queue_lane::when_closed, []() noexcept { return true; });
  if (how == queue_lane::entry::closed) return run_result<value>(wait_status::closed);
  if (how == queue_lane::entry::runner) {
    lane.serve_first(node, &node);
    if (node.cancelled) return run_result<value>(wait_status::cancelled);
    return ran_with(node.outcome);
  }
  bool stopped = false;
  const auto withdraw = [&]() noexcept {
    if (!lane.withdraw(node, [](bool) noexcept {})) return;
    stopped = true;
    node.tell(work::done);
  };
  std::optional<typename stop_callback_of<Stop, decltype(withdraw)>::type> on_stop;
  try {
    on_stop.emplace(stop, withdraw);
  } catch (...) {
    if (lane.withdraw(node, [](bool) noexcept {})) throw;  // else f has begun, and has its result
  }
  if (!lane.wait_for(node, deadline)) {
    if (lane.withdraw(node, [](bool) noexcept {})) return run_result<value>(wait_status::timed_out);
    lane.wait_for(node, nullptr);
  }
  if (stopped || node.cancelled) return run_result<value>(wait_status::cancelled);
  return ran_with(node.outcome);
}

// Returns: whether all that was accepted before has ended, by the deadline.
inline bool drain_until(queue_lane& lane, std::chrono::steady_clock::time_point deadline) {
  barrier_work node;
  const blocked_inside listed(lane.identity(), node.news, true);
  const auto how = lane.stand_in_line(node, false, 0, []() noexcept { return true; });
  if (how == queue_lane::entry::runner) {
    lane.serve_first(node, &node);
  } else if (!lane.wait_for(node, &deadline)) {
    if (lane.withdraw(node, [](bool) noexcept {})) return false;
    lane.wait_for(node, nullptr);
  }
  return lane.expect_withdrawn(&deadline);
}

// A posted task that a stop takes out of the line.
template <class Task, class Stop>
struct stoppable_work : work, cached_block {
  struct on_stop {
    stoppable_work* self;
    void operator()() const noexcept { self->stop(); }
  };
  using registration = typename stop_callback_of<Stop, on_stop>::type;

  template <class F>
  stoppable_work(queue_lane& of, F&& f)
      : work(kind::posted, &perform_it), lane(of), task(std::forward<F>(f)) {}

  void stop() noexcept {
    const bool was_in = lane.withdraw(*this, [this](bool listed) noexcept {
      stopped = true;
      if (listed) lane.will_withdraw();
    });
    if (!was_in) return;  // not in line yet, or it has its turn
    queue_lane& of = lane;
    delete this;
    of.has_withdrawn(1);
  }

  static ending perform_it(work& self, const queue_options* options, step what_to_do) noexcept {
    auto& node = static_cast<stoppable_work&>(self);
    node.armed.reset();
    const bool cancelled = what_to_do == step::cancel;
    const ending how = cancelled ? ending::cancelled : attempt(*node.task, *options);
    delete &node;
    return how;
  }

  queue_lane& lane;
  std::optional<Task> task;
  bool stopped = false;  // under the lock of the line
  std::optional<registration> armed;
};

template <class F, class Stop>
post_result post_stoppable(queue_lane& lane, F&& f, const Stop& stop) {
  using task = std::decay_t<F>;
  using node_type = stoppable_work<task, Stop>;
  refuse_coroutine<task>();
  refuse_nothing(f);
  if (stop.stop_requested()) return post_result::cancelled;
  auto node = std::make_unique<node_type>(lane, std::forward<F>(f));
  const post_result room = lane.find_room(stop);
  if (room != post_result::accepted) return room;
  or_give_back(lane.places(),
               [&] { node->armed.emplace(stop, typename node_type::on_stop{node.get()}); });
  return lane.stand_placed(std::move(node), [](node_type& n) noexcept { return !n.stopped; });
}

template <class F>
post_result post_droppable(queue_lane& lane, F&& f) {
  using task = std::decay_t<F>;
  refuse_coroutine<task>();
  refuse_nothing(f);
  auto node = std::make_unique<posted_work<task>>(std::forward<F>(f));
  node->droppable = true;
  const post_result room = lane.find_room();
  if (room != post_result::accepted) return room;
  return lane.stand_placed(std::move(node), [](work&) noexcept { return true; });
}

template <class F, class Stop = never_stopped>
post_result post_wait(queue_lane& lane, F&& f,
                      const std::chrono::steady_clock::time_point* deadline,
                      const Stop& stop = {}) {
  using task = std::decay_t<F>;
  refuse_coroutine<task>();
  refuse_nothing(f);
  auto node = std::make_unique<posted_work<task>>(std::forward<F>(f));
  const post_result room = lane.wait_for_room(deadline, stop);
  return room == post_result::accepted ? lane.push_placed(std::move(node)) : room;
}

// What a coroutine does that waits for a place, for waiting<>.
template <class F>
class posting_place : public permit_place<queue_places> {
  using base = permit_place<queue_places>;

public:
  struct request {
    queue_lane* lane;
    mutable F f;  // moved from by who makes a place of it
  };

  posting_place(const request& what, wake_function function)
      : base({&what.lane->places(), 1}, function), lane_(*what.lane), function_(std::move(what.f)) {
    refuse_coroutine<F>();
    refuse_nothing(function_);
  }
  request what() { return {&lane_, std::move(function_)}; }

  bool try_now() noexcept {
    now_ = lane_.take_place();
    return now_ != post_result::full;
  }
  static constexpr bool never_inline = true;  // the runner gives places

  template <class Promise>
  void comes_from(std::coroutine_handle<Promise> self) {
    circle_.comes_from(self);
  }
  bool suspend() {
    if (try_now()) return false;
    if (circle_.begin(lane_.identity())) return base::suspend();
    would_deadlock_ = !try_now();  // what was listed may have given a place before
    return false;
  }
  post_result finish() {
    circle_.end();
    if (would_deadlock_) throw_would_deadlock();
    const wait_status how = base::finish();
    if (now_ == post_result::full) now_ = queue_places::result(how, post_result::timed_out);
    if (now_ != post_result::accepted) return now_;
    std::unique_ptr<posted_work<F>> node;
    or_give_back(lane_.places(),
                 [&] { node = std::make_unique<posted_work<F>>(std::move(function_)); });
    return lane_.push_placed(std::move(node));
  }

private:
  queue_lane& lane_;
  F function_;
  held_wait circle_;
  post_result now_ = post_result::full;
  bool would_deadlock_ = false;
};

// A posted task whose result goes into a future.
template <class Task>
struct promised_work : work, cached_block {
  using value = std::invoke_result_t<Task>;

  template <class F>
  explicit promised_work(F&& f) : work(kind::posted, &perform_it), task(std::forward<F>(f)) {}

  static ending perform_it(work& self, const queue_options*, step what_to_do) noexcept {
    const std::unique_ptr<promised_work> node(&static_cast<promised_work&>(self));
    result<value> outcome;
    const ending how =
        what_to_do == step::cancel ? outcome.cancel() : outcome.run(std::move(*node->task));
    node->task.reset();  // before its end is published
    give_to(node->promise, outcome);
    return how;
  }

  std::optional<Task> task;
  std::promise<value> promise;
};

template <class F>
auto submit_future(queue_lane& lane, F&& f) {
  using task = std::decay_t<F>;
  refuse_coroutine<task>();
  refuse_nothing(f);
  auto node = std::make_unique<promised_work<task>>(std::forward<F>(f));
  auto future = node->promise.get_future();
  const post_result room = lane.find_room();
  const post_result how = room == post_result::accepted ? lane.push_placed(std::move(node)) : room;
  if (how == post_result::closed) throw_closed();
  if (how != post_result::accepted) throw_full();
  return future;
}

}  // namespace interlock::detail
