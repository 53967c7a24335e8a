// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lane.hpp - work done one piece at a time, in order, by whoever comes first.
//
// One word says whether there is a runner (the thread that does the work) and holds a stack of what
// arrived meanwhile. The CAS that pushes learns at once "there was no runner, so I am it", or
// "closed". The runner takes the whole stack, turns it round, does the work, and leaves by a CAS
// that fails if more has arrived. Nothing is ever half-linked, and work runs as it was pushed.
//
// The role of runner also changes hands: to a thread that waits for its own work, to a job of an
// executor, to a suspended coroutine. Giving it away, like leaving, is the last touch of the lane.
//
// Sources: CAF's lifo_inbox (the word), LLVM libc's LambdaLock (nodes on the waiters' stacks, the
// hand-over), libdispatch (run on the caller when idle), asio's and folly's strands (the quantum).

#include <memory>

#include "lane_work.hpp"

namespace interlock::detail {

class lane {
public:
  // Preconditions: the options outlive the lane. Without an executor the callers do the work.
  explicit lane(const queue_options& options) noexcept : options_(options) {}
  lane(const lane&) = delete;
  lane& operator=(const lane&) = delete;

  template <class F>
  std::invoke_result_t<F> run(F&& f) {
    refuse_coroutine<F>();
    if (enter()) return run_here(std::forward<F>(f));
    called_work<F> node(f);
    if (!push_and_wait(node, closed_bit)) throw_closed();
    return node.outcome.take();
  }

  template <class F>
  auto try_run(F&& f) {
    refuse_coroutine<F>();
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      const bool entered = enter();
      if (entered) run_here(std::forward<F>(f));
      return entered;
    } else {
      using answer = std::optional<std::invoke_result_t<F>>;
      return enter() ? answer(run_here(std::forward<F>(f))) : answer();
    }
  }

  template <class F>
  post_result post(F&& f) {
    using task = std::decay_t<F>;
    refuse_coroutine<task>();
    if (!options_.executor && enter()) {
      turn mine{*this};
      const inside here(this);
      task now(std::forward<F>(f));
      count(ending::none);
      mine.how = attempt(now, options_);
      return post_result::accepted;
    }
    auto node = std::make_unique<posted_work<task>>(std::forward<F>(f));
    if (!take_place()) {
      if (closed()) return post_result::closed;
      if (options_.full == when_full::reject) return post_result::full;
      node->what = work::kind::called;  // so this thread waits for it, and it needs no place
      return push_and_wait(*node, closed_bit) ? post_result::accepted : post_result::closed;
    }
    const std::uintptr_t before = push(*node, closed_bit);
    if ((before & closed_bit) != 0) {
      free_place();
      return post_result::closed;
    }
    node.release();  // it frees itself once it is done
    if ((before & running_bit) == 0) serve(nullptr, help());
    return post_result::accepted;
  }

  // Returns: true if the awaited work has ended already, and is not to be resumed; else it may be
  // gone by now. Throws: system_error if the lane is closed.
  bool submit(work& awaited) {
    if (!options_.executor && enter()) {
      turn mine{*this};
      const inside here(this);
      count(ending::none);
      mine.how = awaited.perform(awaited, &options_, work::step::run);
      return mine.how != ending::suspended;
    }
    const std::uintptr_t before = push(awaited, closed_bit);
    if ((before & closed_bit) != 0) throw_closed();
    if ((before & running_bit) == 0) serve(nullptr, help());
    return false;
  }

  // Effects: goes on after a coroutine that had suspended inside the lane and has now ended.
  void finish(work& awaited, ending how) noexcept {
    count(how);
    serve(nullptr, help(), &awaited);
  }

  void serve_job() noexcept { serve(nullptr, options_.quantum); }

  // Effects: waits for all that was pushed before; afterwards no other thread is the runner.
  void drain() {
    work barrier(work::kind::barrier, nullptr);
    push_and_wait(barrier, 0);
  }

  void close() noexcept {
    // order: relaxed: one word has one order, so later pushes see the bit; it publishes nothing
    word_.fetch_or(closed_bit, std::memory_order_relaxed);
  }
  bool closed() const noexcept {
    // order: relaxed: asks for the bit only
    return (word_.load(std::memory_order_relaxed) & closed_bit) != 0;
  }

  void cancel_pending() noexcept {
    // order: relaxed: who pushes later reads the new number, and so does the runner of that push
    generation_.fetch_add(1, std::memory_order_relaxed);
  }

  queue_stats stats() const noexcept { return {number(0), number(1), number(2), number(3)}; }

private:
  // word_:
  //   0                             idle
  //   running_bit [ | newest work]  a runner, and a stack of what it has not taken yet
  //   ... | closed_bit              nothing enters any more
  static constexpr std::uintptr_t running_bit = 1;
  static constexpr std::uintptr_t closed_bit = 2;

  static work* newest(std::uintptr_t word) noexcept {
    return reinterpret_cast<work*>(word & ~(running_bit | closed_bit));
  }

  // The role of a thread that has entered an idle lane; gives it up at the end.
  struct turn {
    ~turn() {
      if (how == ending::suspended) return;  // the coroutine has the role
      if (how != ending::none) where.count(how);
      if (!where.leave()) where.serve(nullptr, where.help());
    }
    lane& where;
    ending how = ending::none;
  };

  template <class F>
  std::invoke_result_t<F> run_here(F&& f) {
    turn mine{*this, ending::completed};
    const inside here(this);
    count(ending::none);
    try {
      return std::invoke(std::forward<F>(f));
    } catch (...) {
      mine.how = ending::failed;
      throw;
    }
  }

  bool enter() noexcept {
    std::uintptr_t seen = 0;
    // order: acquire/relaxed [lane.enter] pairs with [lane.leave]: sees what the last runner did
    return word_.compare_exchange_strong(seen, running_bit, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  // Returns: false, and this thread stays the runner, if work has arrived.
  bool leave() noexcept {
    std::uintptr_t seen = running_bit;
    do {
      if (newest(seen) != nullptr) return false;
      // order: release/relaxed [lane.leave] pairs with [lane.enter], [lane.push]: publishes what was done
    } while (!word_.compare_exchange_weak(seen, seen & closed_bit, std::memory_order_release,
                                          std::memory_order_relaxed));
    return true;
  }

  // Returns: the word before. With a refusing bit in it the work was not pushed; without a runner
  // in it this thread is the runner now; else the work may be done and the lane gone.
  std::uintptr_t push(work& w, std::uintptr_t refusing) noexcept {
    // order: relaxed: see cancel_pending()
    w.generation = generation_.load(std::memory_order_relaxed);
    // order: relaxed: a guess that the exchange below verifies
    std::uintptr_t seen = word_.load(std::memory_order_relaxed);
    std::uintptr_t pushed = 0;
    do {
      if ((seen & refusing) != 0) return seen;
      w.next = newest(seen);
      pushed = reinterpret_cast<std::uintptr_t>(&w) | (seen & closed_bit) | running_bit;
      // order: acq_rel/relaxed [lane.push] pairs with [lane.collect], [lane.leave]: publishes the work; sees what the last runner did
    } while (!word_.compare_exchange_weak(seen, pushed, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    return seen;
  }

  // Returns: false if the lane refused the node, true once it is done.
  bool push_and_wait(work& node, std::uintptr_t refusing) {
    inside::refuse_to_wait_for(this);
    const std::uintptr_t before = push(node, refusing);
    if ((before & refusing) != 0) return false;
    if ((before & running_bit) == 0) serve(&node, help());
    while (node.wait_for_role()) serve(&node, help());
    return true;
  }

  // Preconditions: this thread is the runner. It stays so until `own` is done and the budget spent
  // on others, then passes the role on; it leaves when there is no more work. After that it wakes
  // the coroutines whose work is done, `ready` and those served here: they may use the lane again.
  void serve(work* own, std::uint32_t budget, work* ready = nullptr) noexcept {
    work** end = ready == nullptr ? &ready : &ready->next;
    while (work* const w = take(own, budget)) {
      const work::kind what = w->what;
      if (what != work::kind::barrier) {
        const ending how = perform(*w);
        if (how == ending::suspended) break;
        count(how);
      }
      if (what == work::kind::awaited) {
        *end = w;
        end = &w->next;
      } else if (what != work::kind::posted) {
        if (w == own) own = nullptr;
        w->tell(work::done);
      }
      if (own == nullptr && budget != 0) --budget;
    }
    *end = nullptr;
    while (work* const w = ready) {
      ready = w->next;
      w->perform(*w, nullptr, work::step::resume);
    }
  }

  ending perform(work& w) noexcept {
    count(ending::none);
    if (w.what == work::kind::posted) free_place();
    // order: relaxed: see cancel_pending()
    const bool current = w.generation == generation_.load(std::memory_order_relaxed);
    const inside here(this);
    return w.perform(w, &options_, current ? work::step::run : work::step::cancel);
  }

  // Returns: the work to do next; nullptr if this thread is no longer the runner.
  work* take(const work* own, std::uint32_t budget) noexcept {
    while (pending_ == nullptr) {
      if (leave()) return nullptr;
      collect();
    }
    if (own == nullptr && budget == 0 && pass_on()) return nullptr;
    work* const first = pending_;
    if (first->what == work::kind::barrier && first != own) {
      first->tell(work::role);  // only its own thread passes it, so that it may destroy the lane
      return nullptr;
    }
    if (first->has_thread()) --pending_threads_;
    pending_ = first->next;
    return first;
  }

  // Effects: moves what has arrived to the end of pending_, in the order of its arrival.
  void collect() noexcept {
    // order: acquire [lane.collect] pairs with [lane.push]: sees the work as it was pushed
    work* w = newest(word_.fetch_and(running_bit | closed_bit, std::memory_order_acquire));
    work* const last = w;
    work* first = nullptr;
    while (w != nullptr) {
      if (w->has_thread()) ++pending_threads_;
      first = std::exchange(w, std::exchange(w->next, first));
    }
    if (first == nullptr) return;
    (pending_ == nullptr ? pending_ : pending_last_->next) = first;
    pending_last_ = last;
  }

  // Returns: true, and the lane may be gone, if somebody else is the runner now.
  bool pass_on() noexcept {
    if (options_.executor) {
      try {
        const auto executor = options_.executor;  // ours may go with the lane while it is called
        executor([this] { serve_job(); });
        return true;
      } catch (...) {
        report_error(options_);
        return false;  // so the work is done here
      }
    }
    collect();  // whoever has come to wait can take over
    if (pending_threads_ == 0) return false;
    work* heir = pending_;
    while (!heir->has_thread()) heir = heir->next;
    heir->tell(work::role);
    return true;
  }

  // How much a thread does for others once its own work is done: nothing, with an executor.
  std::uint32_t help() const noexcept { return options_.executor ? 0 : options_.quantum; }

  bool take_place() noexcept {
    // order: relaxed: a guess that the exchange below verifies
    std::size_t taken = waiting_posts_.load(std::memory_order_relaxed);
    do {
      if (taken >= options_.capacity) return false;
      // order: relaxed/relaxed: a number only
    } while (!waiting_posts_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed,
                                                   std::memory_order_relaxed));
    return true;
  }
  void free_place() noexcept {
    // order: relaxed: a number only
    waiting_posts_.fetch_sub(1, std::memory_order_relaxed);
  }

  std::uint64_t number(std::size_t which) const noexcept {
    // order: relaxed: one number, right by itself
    return numbers_[which].load(std::memory_order_relaxed);
  }
  void count(ending which) noexcept {
    const auto index = static_cast<std::size_t>(which);
    // order: relaxed: only the runner writes, and handing over the role orders the runners
    numbers_[index].store(number(index) + 1, std::memory_order_relaxed);
  }

  const queue_options& options_;
  std::atomic<std::uintptr_t> word_{0};
  std::atomic<std::size_t> waiting_posts_{0};
  std::atomic<std::uint32_t> generation_{0};  // work of an older generation is cancelled

  // The runner's own. numbers_ counts the endings; that of `none`, all work that was begun.
  std::uint32_t pending_threads_ = 0;  // how many nodes of pending_ a thread waits for
  work* pending_ = nullptr;            // taken from word_ and not done, oldest first
  work* pending_last_ = nullptr;       // meaningful while pending_ is not null
  std::atomic<std::uint64_t> numbers_[4]{};
};

}  // namespace interlock::detail
