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
// executor, to a suspended coroutine. What the runner has taken and not done goes with the role, so
// the lane itself is the word. Giving the role away, like leaving, is the last touch of the lane.
//
// Who may leave before its turn (a stop, a deadline) stands in the host's line instead, a ring with
// a lock; `line_bit` says that it is not empty. What was pushed before it goes into the line with
// it, and what is pushed later stays in the stack. So the order is: batch, line, stack.
//
// Sources: CAF's lifo_inbox (the word), LLVM libc's LambdaLock (nodes on the waiters' stacks, the
// hand-over), libdispatch (run on the caller when idle), asio's and folly's strands (the quantum).

#include <optional>
#include <utility>

#include "lane_waits.hpp"
#include "lane_work.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Host derives from it and has, all noexcept:
//   ending perform(work&)          does what was queued, with what has to be done around it
//   void count(ending)             of what ended; called by the runner
//   std::uint32_t help() const     how much a caller does for others
//   bool schedule(batch&)          true: an executor has the role from now on, with the batch
//   bool offers() const            whether others than executors may have the role
//   void settle()                  called before the role goes or the runner looks for more
//   void take_from_line(batch&)    called if line_bit is set
//   bool strict() const
template <class Host>
class lane {
public:
  lane() = default;
  lane(const lane&) = delete;
  lane& operator=(const lane&) = delete;

  template <class F>
  std::invoke_result_t<F> run(F&& f) {
    refuse_coroutine<F>();
    if (enter() || enter_soon()) return run_here(std::forward<F>(f));
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

  // Effects: waits for all that was pushed before; afterwards no other thread is the runner.
  void drain() {
    barrier_work barrier;
    push_and_wait(barrier, 0);
  }

  void close() noexcept {
    // order: relaxed: one word has one order, so later pushes see the bit; it publishes nothing
    word_.fetch_or(closed_bit, std::memory_order_relaxed);
  }
  bool closed() const noexcept { return (look() & closed_bit) != 0; }
  // Returns: whether nobody is in it; then this sees what the last runner did.
  bool is_idle() const noexcept {
    // order: acquire [lane.idle] pairs with [lane.leave]: sees what the last runner did
    return (word_.load(std::memory_order_acquire) & ~closed_bit) == 0;
  }

  // Returns: what `inside` and lane_waits know it by.
  const void* identity() const noexcept { return this; }

protected:
  // word_:
  //   0                              idle
  //   running_bit [| newest work]    a runner, and a stack of what it has not taken yet
  //   watched_bit [| newest work]    no runner: a thread that watches the word becomes it when it
  //                                  sees work; without work anybody may
  //   offered                        a runner that has done its quantum: whoever comes from outside
  //                                  of tasks waits a moment for the role
  //   running or watched | line_bit  somebody stands in the line
  //   ... | closed_bit               nothing enters any more
  static constexpr std::uintptr_t running_bit = 1;
  static constexpr std::uintptr_t closed_bit = 2;
  static constexpr std::uintptr_t watched_bit = 4;
  static constexpr std::uintptr_t offered = running_bit | watched_bit;
  static constexpr std::uintptr_t line_bit = 8;
  static constexpr std::uintptr_t flags = 15;

  static work* newest(std::uintptr_t word) noexcept {
    return reinterpret_cast<work*>(word & ~flags);
  }
  static bool has_work(std::uintptr_t word) noexcept {
    return newest(word) != nullptr || (word & line_bit) != 0;
  }
  static bool is_unattended(std::uintptr_t word) noexcept {
    return (word & (running_bit | watched_bit)) == 0;
  }
  static bool is_offered(std::uintptr_t word) noexcept { return (~word & offered) == 0; }

  std::uintptr_t look() const noexcept {
    // order: relaxed: asks for a bit, or is a guess that an exchange verifies
    return word_.load(std::memory_order_relaxed);
  }

  // The role of a thread that has entered an idle lane; gives it up at the end.
  struct turn {
    ~turn() { end(how); }
    void end(ending with) noexcept {
      how = ending::suspended;
      if (with == ending::suspended) return;  // the coroutine has the role
      if (with != ending::none) where.self().count(with);
      if (!where.leave(0)) where.serve({}, nullptr, where.self().help());
    }
    lane& where;
    ending how = ending::none;
  };

  template <class F>
  std::invoke_result_t<F> run_here(F&& f) {
    turn mine{*this, ending::completed};
    try {
      const inside here(this);
      return std::invoke(std::forward<F>(f));
    } catch (...) {
      mine.end(ending::failed);  // here no exception is in flight that others' work could see
      throw;
    }
  }

  // Returns: true if the lane was idle and this thread is its runner now.
  bool enter() noexcept {
    std::uintptr_t seen = 0;
    // order: acquire/relaxed [lane.enter] pairs with [lane.leave]: sees what the last runner did
    if (word_.compare_exchange_strong(seen, running_bit, std::memory_order_acquire,
                                      std::memory_order_relaxed)) [[likely]] {
      return true;
    }
    if (seen != watched_bit) return false;
    // order: acquire/relaxed [lane.enter.watched] pairs with [lane.leave]: as above
    return word_.compare_exchange_strong(seen, running_bit, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  // Effects: as enter(), but looks three times. It is not in line meanwhile: but nobody is, or it
  //          gives up. What two threads take in turn that way costs one of them no transfer. The
  //          pauses are long, since each look takes the word from who works.
  [[gnu::noinline]] bool enter_soon() noexcept {
    if (self().strict() || inside::innermost != nullptr) return false;
    for (int looks = 0; looks < 3; ++looks) {
      spin_hint(long_pause);
      const std::uintptr_t seen = look();
      if ((seen & closed_bit) != 0 || has_work(seen)) return false;
      if ((seen & running_bit) == 0 && enter()) return true;
    }
    return false;
  }

  // Effects: the runner leaves; `left` is what remains in the word but for closed_bit.
  // Returns: false, and this thread stays the runner, if work has arrived.
  bool leave(std::uintptr_t left) noexcept {
    std::uintptr_t seen = look();  // a failed exchange would take the line from who pushes
    do {
      if (has_work(seen)) return false;
      // order: release/relaxed [lane.leave] pairs with [lane.enter], [lane.enter.watched], [lane.idle], [lane.push], [lane.stand]: publishes what was done
    } while (!word_.compare_exchange_weak(seen, (seen & closed_bit) | left,
                                          std::memory_order_release, std::memory_order_relaxed));
    return true;
  }

  // Effects: pushes the work, and behind it, in one step, what this thread waits on, if anything.
  // Returns: the word before. With a refusing bit in it the work was not pushed; if unattended this
  // thread is the runner now; else the work may be done and the lane gone.
  std::uintptr_t push(work& w, std::uintptr_t refusing, work* behind = nullptr) noexcept {
    work* const top = behind == nullptr ? &w : behind;
    if (behind != nullptr) behind->next = &w;
    std::uintptr_t seen = look();
    for (;;) {
      if ((seen & refusing) != 0) return seen;
      w.next = newest(seen);
      const std::uintptr_t pushed = reinterpret_cast<std::uintptr_t>(top) | (seen & flags) |
                                    (is_unattended(seen) ? running_bit : 0);
      // order: acq_rel/relaxed [lane.push] pairs with [lane.collect], [lane.leave], [lane.stand]: publishes the work; sees what the last runner did
      if (word_.compare_exchange_weak(seen, pushed, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        return seen;
      }
      if (self().offers()) continue;
      // Others push, who do nothing else: one of them at a time is faster than all in turns.
      spin_hint(long_pause);
      seen = look();
    }
  }

  // Returns: false if the lane refused the node, true once it is done.
  // Throws: if it would wait for itself.
  bool push_and_wait(heir_work& node, std::uintptr_t refusing) {
    const blocked_inside listed(this, node.news, false);
    self().note(node);
    const std::uintptr_t before = push(node, refusing);
    if ((before & refusing) != 0) {
      self().forget(node);
      return false;
    }
    if (is_unattended(before)) serve({}, &node, self().help());
    // What this thread has made ready may hold what the work needs.
    for (trampoline::run_ready(); node.wait_for_role(); trampoline::run_ready()) {
      serve(node.inherited, &node, self().help());
    }
    return true;
  }

  // Effects: pushes what nobody waits for, and does the work if nobody else does. If the runner has
  //          done its quantum this thread waits a moment for the role, unless it is in a task.
  // Returns: false if the lane refused it.
  bool push_and_attend(work& w) noexcept {
    if (is_offered(look()) && inside::innermost == nullptr) return push_and_take_over(w);
    // Where an older work of this thread lies, most likely: the runner fetches it early.
    w.previous = static_cast<work*>(thread_blocks::taken_before());
    const std::uintptr_t before = push(w, closed_bit);
    if ((before & closed_bit) != 0) return false;
    if (is_unattended(before)) serve({}, nullptr, self().help());
    return true;
  }

  // Preconditions: this thread is the runner. It stays so until `own` is done and the budget spent
  // on others, then passes the role on; it leaves when there is no more work. The coroutines that
  // it has made ready go on after that: they may use the lane again.
  void serve(batch todo, work* own, std::uint32_t budget, std::uintptr_t left = 0) noexcept {
    trampoline::together([&] { serve_now(todo, own, budget, left); });
  }

  // Effects: goes on after a coroutine that had suspended inside the lane and has now ended.
  void finish(heir_work& awaited, ending how) noexcept {
    trampoline::together([&] {
      self().count(how);
      batch todo = awaited.inherited;
      awaited.perform(awaited, nullptr, work::step::resume);
      serve_now(todo, nullptr, self().help(), 0);
    });
  }

  // Effects: for a thread that has left watched_bit behind: looks for work, with longer and longer
  //          pauses, so that what comes fast comes together.
  // Returns: true if this thread is the runner. Else the lane may be gone.
  bool watch() noexcept {
    for (unsigned round = 0;; ++round) {
      std::uintptr_t seen = look();
      while ((seen & watched_bit) != 0) {  // nobody else has become the runner
        if (!has_work(seen) && round < watch_rounds) break;
        const bool runs = has_work(seen);
        const std::uintptr_t after = (seen & ~watched_bit) | (runs ? running_bit : 0);
        // order: relaxed/relaxed: this thread was the last runner, or the bit were gone; collect() sees the work, and who enters next what leave() published
        if (word_.compare_exchange_weak(seen, after, std::memory_order_relaxed,
                                        std::memory_order_relaxed)) {
          return runs;
        }
      }
      if ((seen & watched_bit) == 0) return false;
      spin_hint(round < long_pause ? round : long_pause);
    }
  }

  // Effects: with the line locked: makes what has been pushed stand in the line, and this behind;
  //          if the lane is unattended, only if `anyway`.
  // Returns: the word before: as of push().
  std::uintptr_t stand(ring_of<work>& line, work& w, std::uintptr_t refusing,
                       bool anyway) noexcept {
    std::uintptr_t seen = look();
    std::uintptr_t after = 0;
    do {
      if ((seen & refusing) != 0) return seen;
      after = (seen & flags) | (is_unattended(seen) ? running_bit : line_bit) |
              (anyway ? line_bit : 0);
      // order: acquire/relaxed [lane.stand] pairs with [lane.push], [lane.leave]: sees the work as it was pushed, or what the last runner did; the line has a lock
    } while (!word_.compare_exchange_weak(seen, after, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    for (work* each = in_order(newest(seen)).first; each != nullptr;) {
      work& one = *std::exchange(each, each->next);
      line.push_back(one);
    }
    if ((after & line_bit) != 0) line.push_back(w);
    return seen;
  }
  // Effects: by the runner, with the line locked: nobody stands in it any more. Who leaves the line
  //          does not do it: it would touch the lane when the runner may have gone.
  void line_is_empty() noexcept {
    // order: relaxed: the line has a lock; and the runner leaves behind this
    word_.fetch_and(~line_bit, std::memory_order_relaxed);
  }

private:
  Host& self() noexcept { return static_cast<Host&>(*this); }
  const Host& self() const noexcept { return static_cast<const Host&>(*this); }

  void serve_now(batch& todo, work* own, std::uint32_t budget, std::uintptr_t left) noexcept {
    while (work* const w = take(todo, own, budget, left)) {
      const work::kind what = w->what;
      const bool has_thread = w->has_thread();
      if (what == work::kind::awaited) {  // it may keep the role for long
        self().settle();
        withdraw_offer();
        static_cast<heir_work*>(w)->inherited = todo;
      }
      if (w->is_task()) {
        const ending how = self().perform(*w);
        if (how == ending::suspended) return;
        self().count(how);
      }
      if (what == work::kind::awaited) {
        w->perform(*w, nullptr, work::step::resume);
      } else if (has_thread) {
        if (w == own) own = nullptr;
        w->tell(work::done);
      }
      if (own == nullptr && budget != 0) --budget;
    }
  }

  // Returns: the work to do next; nullptr if this thread is no longer the runner.
  work* take(batch& todo, const work* own, std::uint32_t budget, std::uintptr_t left) noexcept {
    for (;;) {
      if (todo.first == nullptr) {
        self().settle();
        if (leave(left)) return nullptr;
      }
      if (own == nullptr && budget == 0 && pass_on(todo)) return nullptr;
      work* const first = todo.first;
      if (first == nullptr) {
        if (!collect(todo)) self().take_from_line(todo);
        continue;
      }
      if (first->what == work::kind::barrier && first != own) {
        self().settle();
        hand(*first, todo);  // only its own thread passes it, so that it may destroy the lane
        return nullptr;
      }
      if (first->has_thread()) --todo.threads;
      todo.first = first->next;
      if (first->what != work::kind::taker || first == own) return first;
      taker_work::let_go(*first);
    }
  }

  // Effects: pushes the work, and waits for a moment for the role, which the runner wants to give.
  [[gnu::noinline]] bool push_and_take_over(work& w) noexcept {
    taker_work* const taker = taker_work::make();
    const std::uintptr_t before = push(w, closed_bit, taker);
    if ((before & closed_bit) != 0) {
      delete taker;
      return false;
    }
    if (is_unattended(before)) serve({}, taker, self().help());
    if (taker == nullptr) return true;
    trampoline::run_ready();
    while (taker->wait_for_offer()) serve(taker->inherited, taker, self().help());
    return true;
  }

  // Effects: adds what has been pushed, in the order of its arrival, unless somebody stands in the
  //          line: that came before it. Returns: false then.
  bool collect(batch& todo) noexcept {
    std::uintptr_t seen = look();
    do {
      if ((seen & line_bit) != 0) return false;
      // order: acquire/relaxed [lane.collect] pairs with [lane.push]: sees the work as it was pushed
    } while (!word_.compare_exchange_weak(seen, seen & flags, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    const batch more = in_order(newest(seen));
    if (more.first == nullptr) return true;
    todo.append(more.first, more.last);
    todo.threads += more.threads;
    return true;
  }

  static batch in_order(work* stack) noexcept {
    batch all{nullptr, stack, 0};
    while (stack != nullptr) {
      // Else each would be waited for in turn: only the one before knows where it is.
      const work* const older = std::exchange(stack->previous, nullptr);
      if (older != nullptr) __builtin_prefetch(older);
      if (stack->has_thread()) ++all.threads;
      all.first = std::exchange(stack, std::exchange(stack->next, all.first));
    }
    return all;
  }

  // Returns: true, and the lane may be gone, if somebody else is the runner now.
  bool pass_on(batch& todo) noexcept {
    self().settle();
    if (self().schedule(todo)) return true;
    const std::uintptr_t seen = look();
    // Whoever has come to wait can take over.
    if (todo.threads == 0 && newest(seen) != nullptr) static_cast<void>(collect(todo));
    if (todo.threads == 0) {
      // order: relaxed: asks for somebody, who pushes
      if (!is_offered(seen) && self().offers()) word_.fetch_or(offered, std::memory_order_relaxed);
      return false;
    }
    withdraw_offer();
    work** at = &todo.first;
    work* before = nullptr;
    while (todo.threads != 0) {
      work* const heir = *at;
      if (heir->has_thread()) {
        if (hand(*heir, todo)) return true;
        *at = heir->next;  // it was a taker, and has left
        if (todo.last == heir) todo.last = before;
        --todo.threads;
        delete static_cast<taker_work*>(heir);
      } else {
        before = heir;
        at = &heir->next;
      }
    }
    return false;
  }

  void withdraw_offer() noexcept {
    // order: relaxed: nobody asks any more
    if (is_offered(look())) word_.fetch_and(~watched_bit, std::memory_order_relaxed);
  }

  // Returns: false if it is one that waits no more.
  static bool hand(work& heir, const batch& todo) noexcept {
    static_cast<heir_work&>(heir).inherited = todo;
    return heir.tell(work::role) != work::abandoned;
  }

  static constexpr unsigned long_pause = 5;  // for spin_hint: in it the runner does dozens of tasks
  static constexpr unsigned watch_rounds = 12;

  std::atomic<std::uintptr_t> word_{0};
};

}  // namespace interlock::detail
