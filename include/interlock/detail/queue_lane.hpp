// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/queue_lane.hpp - the lane of a serial_queue: bounds, a line for those who may
// leave, executors, counts.
//
// A place is a permit of a posted task: taken before it is queued, given back when it begins, is
// withdrawn or dropped.

#include <memory>

#include "lane.hpp"
#include "queue_numbers.hpp"
#include "queue_places.hpp"

namespace interlock::detail {

class queue_lane : public lane<queue_lane> {
  using base = lane<queue_lane>;
  friend base;

public:
  explicit queue_lane(queue_options options)
      : options_(std::move(options)),
        metrics_(options_.metrics ? std::make_unique<queue_recorder>() : nullptr),
        places_(options_.capacity) {}

  const queue_options& options() const noexcept { return options_; }
  bool elsewhere() const noexcept { return static_cast<bool>(options_.executor); }

  // ---- posted tasks

  template <class F>
  post_result post(F&& f) {
    using task = std::decay_t<F>;
    refuse_coroutine<task>();
    refuse_nothing(f);
    if (!elsewhere() && (enter() || enter_soon())) {
      turn mine{*this};
      try {
        const inside here(this);
        task now(std::forward<F>(f));
        mine.how = attempt(now, options_);
      } catch (...) {
        mine.end(ending::none);  // as in run_here()
        throw;
      }
      return post_result::accepted;
    }
    auto node = std::make_unique<posted_work<task>>(std::forward<F>(f));
    const post_result room = find_room();
    return room == post_result::accepted ? push_placed(std::move(node)) : room;
  }

  // Effects: queues a task that has its place.
  template <class Node>
  post_result push_placed(std::unique_ptr<Node> node) {
    note(*node);
    Node* const queued = node.release();  // it frees itself once it is done
    if (push_and_attend(*queued)) return post_result::accepted;
    node.reset(queued);
    forget(*node);
    places_.give(1);
    return post_result::closed;
  }
  // Effects: the same for a task that may leave the line, unless begin(node) says no.
  template <class Node, class Begin>
  post_result stand_placed(std::unique_ptr<Node> node, Begin begin) {
    // Once it is listed it may be gone.
    Node* const standing = node.release();
    const entry how = stand_in_line(*standing, elsewhere(), closed_bit,
                                    [&]() noexcept { return begin(*standing); });
    if (how == entry::runner) serve_first(*standing);
    if (how == entry::runner || how == entry::listed) return post_result::accepted;
    node.reset(standing);
    places_.give(1);
    return how == entry::closed ? post_result::closed : post_result::cancelled;
  }

  // Returns: accepted if there is a place, which is the caller's now; else why not.
  // Throws: if this thread would wait for itself.
  template <class Stop = never_stopped>
  post_result find_room(const Stop& stop = {}) {
    const post_result now = take_place();
    if (now != post_result::full) return now;
    if (options_.full == when_full::block) return places_.wait(this, nullptr, stop);
    const bool dropped = options_.full == when_full::drop_oldest && drop_oldest();
    return dropped ? post_result::accepted : post_result::full;
  }

  queue_places& places() noexcept { return places_; }
  post_result take_place() noexcept {
    if (places_.bounded()) return places_.take();
    return closed() ? post_result::closed : post_result::accepted;
  }
  template <class Stop = never_stopped>
  post_result wait_for_room(const std::chrono::steady_clock::time_point* deadline,
                            const Stop& stop = {}) {
    if (stop.stop_requested()) return post_result::cancelled;
    return places_.bounded() ? places_.wait(this, deadline, stop) : take_place();
  }

  // Effects: takes a task that was posted as droppable out of the line, the oldest of them.
  // Returns: true, and its place is the caller's; false if there is none.
  bool drop_oldest() noexcept {
    work* oldest = nullptr;
    {
      standing_line::locked line(standing_);
      for (oldest = line.first(); oldest != nullptr && !oldest->droppable;) {
        oldest = line.after(*oldest);
      }
      if (oldest == nullptr) return false;
      line.remove(*oldest);
      withdrawn_.count_dropped();
      forget(*oldest);
      will_withdraw();
    }
    oldest->perform(*oldest, &options_, work::step::cancel);
    has_withdrawn(0);
    return true;
  }

  // Effects: the same for one that a coroutine awaits.
  bool push_awaited(work& w) noexcept {
    note(w);
    const std::uintptr_t before = push(w, closed_bit);
    const bool accepted = (before & closed_bit) == 0;
    if (!accepted) {
      forget(w);
    } else if (is_unattended(before)) {
      serve({}, nullptr, help());
    }
    return accepted;
  }

  // ---- those who may leave

  static constexpr std::uintptr_t when_closed = closed_bit;

  enum class entry { closed, runner, listed, ended };

  // Effects: puts the work into the line if begin(), asked with the line locked, says so. If the
  //          queue is idle: only if `anyway`, and then this thread serves the line.
  // Returns: runner: this thread is it, and the work in no list. ended: begin() said no.
  template <class Begin, class Decided = void (*)(entry) noexcept>
  entry stand_in_line(
      work& w, bool anyway, std::uintptr_t refusing, Begin begin,
      Decided decided = [](entry) noexcept {}) noexcept {
    bool serves = false;
    entry how = entry::ended;
    {
      standing_line::locked line(standing_);
      if (!begin()) return how;
      w.may_leave = true;
      note(w);
      const std::uintptr_t before = stand(line, w, refusing, anyway);
      if ((before & refusing) != 0) {
        forget(w);
        how = entry::closed;
      } else {
        serves = is_unattended(before) && anyway;
        how = is_unattended(before) && !anyway ? entry::runner : entry::listed;
      }
      decided(how);
    }
    if (serves) serve({}, nullptr, help());
    return how;
  }

  // Effects: takes the work out of the line; `ended(was in it)` is called with the line locked.
  // Returns: true if it was in it. Then its end is the caller's to tell.
  template <class Ended>
  bool withdraw(work& w, Ended ended) noexcept {
    standing_line::locked line(standing_);
    const bool was_in = line.remove(w);
    if (was_in && w.what != work::kind::barrier) {
      withdrawn_.count_cancelled();
      forget(w);
    }
    ended(was_in);
    return was_in;
  }

  // Preconditions: this thread is the runner, and the work is in no list.
  void serve_first(work& w, work* own = nullptr) noexcept {
    w.next = nullptr;
    serve({&w, &w, w.has_thread() ? 1U : 0U}, own, help());
  }
  // Effects: waits for the end of the work. Returns: true if it has ended; false: it is late.
  bool wait_for(heir_work& node, const std::chrono::steady_clock::time_point* deadline) noexcept {
    for (;;) {
      trampoline::run_ready();  // see push_and_wait()
      const std::uint32_t news = node.wait(deadline);
      if (news != work::role) return news == work::done;
      serve(node.inherited, &node, help());
    }
  }

  // Effects: with the line locked: the lane stays, and drain() waits, until has_withdrawn(): the
  //          captures of a stopped or dropped task are being destroyed.
  void will_withdraw() noexcept { withdrawing_.begin(); }
  // Effects: gives back so many places, too.
  void has_withdrawn(std::uint32_t places) noexcept {
    trampoline::together([this, places] {  // who gets the place goes on when the lane is let go
      places_.give(places);
      withdrawing_.end();
    });
  }
  // Effects: behind the wait for what was accepted. Returns: false if the deadline came first.
  bool expect_withdrawn(
      const std::chrono::steady_clock::time_point* deadline = nullptr) noexcept {
    return withdrawing_.wait(deadline);
  }
  void drain() {
    base::drain();
    expect_withdrawn();
  }

  // ---- shutdown, numbers

  void close() noexcept {
    base::close();
    places_.close();
  }
  void cancel_pending() noexcept {
    // order: relaxed: who pushes later reads the new number, and so does the runner of that push
    generation_.fetch_add(1, std::memory_order_relaxed);
  }

  queue_stats stats() const noexcept {
    queue_stats all = numbers_.read();
    withdrawn_.add_to(all);
    all.accepted = all.completed + all.failed + all.cancelled + all.dropped;
    return all;
  }
  queue_metrics metrics() const noexcept {
    return metrics_ == nullptr ? queue_metrics{} : metrics_->read();
  }

  // ---- for who does the work

  void serve_job() noexcept { serve_parked(0); }
  // Effects: the same on the queue's own thread, which then looks for more.
  void serve_and_watch() noexcept {
    serve_parked(watched_bit);
    while (watch()) serve({}, nullptr, options_.quantum, watched_bit);
  }
  void use(any_executor executor) { options_.executor = std::move(executor); }

  // How much a thread does for others once its own work is done: nothing, with an executor.
  std::uint32_t help() const noexcept { return elsewhere() ? 0 : options_.quantum; }

  using base::enter;
  using base::finish;
  using base::turn;

  void note(work& w) noexcept {
    // order: relaxed: see cancel_pending()
    w.generation = generation_.load(std::memory_order_relaxed);
    if (metrics_ != nullptr && w.what != work::kind::barrier) metrics_->queued(w);
  }
  void forget(work& w) noexcept {
    if (metrics_ != nullptr && w.what != work::kind::barrier) metrics_->withdrawn();
  }
  // Effects: counts what entered an idle lane and has ended.
  void count(ending how) noexcept { numbers_.count(how); }

private:
  using standing_line = guarded_ring<work>;

  bool strict() const noexcept { return options_.strict; }
  bool offers() const noexcept { return !elsewhere(); }
  void serve_parked(std::uintptr_t left) noexcept {
    const batch todo = std::exchange(parked_, {});
    serve(todo, nullptr, options_.quantum, left);
  }

  ending perform(work& w) noexcept {
    if (w.what == work::kind::posted && places_.bounded() && ++freed_ >= places_.at_a_time()) {
      settle();
    }
    if (metrics_ != nullptr) metrics_->begins_in_line(w);
    // order: relaxed: see cancel_pending()
    const bool current = w.generation == generation_.load(std::memory_order_relaxed);
    const inside here(this);
    const work::step what_to_do = current ? work::step::run : work::step::cancel;
    if (metrics_ == nullptr || !w.sampled) return w.perform(w, &options_, what_to_do);
    const auto began = queue_recorder::now();
    const ending how = w.perform(w, &options_, what_to_do);  // it may be gone now
    // The lane, too, if the role has gone to a coroutine.
    if (how != ending::suspended) metrics_->ran(queue_recorder::now() - began);
    return how;
  }

  void settle() noexcept {
    if (freed_ != 0) places_.give(std::exchange(freed_, 0));
  }

  void take_from_line(batch& todo) noexcept {
    standing_line::locked line(standing_);
    while (!line.empty()) {
      work& first = *line.first();
      if (todo.first != nullptr && first.may_leave) return;
      line.remove(first);
      first.next = nullptr;
      todo.append(&first, &first);
      if (first.has_thread()) ++todo.threads;
      if (first.may_leave) break;
    }
    if (line.empty()) line_is_empty();
  }

  // That an executor drops or runs a job in the call, is not to have taken it.
  struct handing {
    const queue_lane* what;
    bool came_back = false;
    handing* outer = std::exchange(innermost, this);
    ~handing() { innermost = outer; }
    static inline constinit thread_local handing* innermost = nullptr;
  };
  static void job_runs(void* self) noexcept {
    auto& lane = *static_cast<queue_lane*>(self);
    for (handing* h = handing::innermost; h != nullptr; h = h->outer) {
      if (h->what != &lane) continue;
      h->came_back = true;
      return;
    }
    lane.serve_job();
  }
  static constexpr job_actions actions{&job_runs, &job_runs};

  bool schedule(batch& todo) noexcept {
    if (!elsewhere()) return false;
    handing now{this};
    const any_executor executor = options_.executor;  // ours may go with the lane in the call
    parked_ = todo;
    try {
      executor.execute(job{&actions, this});
      if (!now.came_back) return true;
    } catch (...) {
      report_error(options_);
    }
    todo = std::exchange(parked_, {});
    return false;  // so the work is done here
  }

  // In groups by who writes, a line apart: the word of the lane goes to and fro between cores, and
  // what is read for each task should not go with it. No alignas: coroutine frames ignore it.
  struct apart {
    char unused[64];
  };

  [[maybe_unused]] apart word_apart_;
  queue_options options_;
  std::unique_ptr<queue_recorder> metrics_;
  std::atomic<std::uint32_t> generation_{0};  // work of an older generation is cancelled

  [[maybe_unused]] apart runner_apart_;  // the runner's own
  std::uint32_t freed_ = 0;              // places to be given back
  batch parked_;                         // while an executor has the role
  runner_numbers numbers_;

  [[maybe_unused]] apart others_apart_;
  queue_places places_;
  standing_line standing_;
  withdrawn_numbers withdrawn_;
  withdrawals withdrawing_;
};

}  // namespace interlock::detail
