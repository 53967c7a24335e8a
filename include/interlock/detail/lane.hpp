// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lane.hpp - work done one piece at a time, in order, by whoever comes first.
//
// One word says whether there is a runner, and holds what arrived meanwhile: see lane_word.hpp.
// Here is what the runner does, and who it is.
//
// The role of runner also changes hands: to a thread that waits for its own work, to a job of an
// executor, to a suspended coroutine. What the runner has taken and not done goes with the role, so
// the lane itself is the word. Giving the role away, like leaving, is the last touch of the lane.
//
// Who may leave before its turn (a stop, a deadline) stands in the host's line, not in the stack.
//
// Sources: LLVM libc's LambdaLock (nodes on the waiters' stacks, the hand-over), libdispatch (run
// on the caller when idle), asio's and folly's strands (the quantum).

#include <optional>
#include <utility>

#include "lane_waits.hpp"
#include "lane_word.hpp"
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
class lane : public lane_word {
public:
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

  // Returns: what `inside` and lane_waits know it by.
  const void* identity() const noexcept { return this; }

protected:
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

  // Effects: as lane_word::push(). Others who push to an executor do nothing else: one of them at a
  //          time is faster than all in turns.
  std::uintptr_t push(work& w, std::uintptr_t refusing, work* behind = nullptr) noexcept {
    return lane_word::push(w, refusing, !self().offers(), behind);
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

  // Returns: true, and the lane may be gone, if somebody else is the runner now.
  bool pass_on(batch& todo) noexcept {
    self().settle();
    if (self().schedule(todo)) return true;
    // Whoever has come to wait can take over.
    if (todo.threads == 0 && newest(look()) != nullptr) static_cast<void>(collect(todo));
    if (todo.threads == 0) {
      if (self().offers()) offer();
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

  // Returns: false if it is one that waits no more.
  static bool hand(work& heir, const batch& todo) noexcept {
    static_cast<heir_work&>(heir).inherited = todo;
    return heir.tell(work::role) != work::abandoned;
  }

};

}  // namespace interlock::detail
