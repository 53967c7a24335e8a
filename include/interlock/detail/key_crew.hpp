// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_crew.hpp - which shards have work at rest, and the jobs that come for it.
//
// A bit for each shard says that work rests there. Whoever sets it looks whether a job is on its
// way (asked for and not begun, or searching) and asks for one if not. A job that begins takes the
// first work and, if there is more, asks for the next job: so there is one on its way as long as
// work rests, the executor is asked once for a burst, and a key that is blocked keeps one job and
// no other key. A job is not bound to a key or shard: it steals whole shards from busy ones.
//
// The gate counts who may still touch the queue: jobs that have begun, who asks for one, and who
// has taken on to do the work itself. It is passed while there is a key in the table, so it is not
// closed yet. The destructor closes it when there are no keys, and waits. A job that comes later
// finds it closed; for that the gate outlives the queue.

#include <atomic>
#include <cstdint>
#include <utility>

#include "any_executor.hpp"
#include "parking.hpp"

namespace interlock::detail {

class key_crew {
public:
  // `serve` does work at rest until there is none, or, as a guest of somebody's executor, a
  // quantum. `most`: how many jobs make sense at a time. An empty executor: no crew.
  struct duties {
    void (*serve)(void* queue) noexcept;
    void (*failed)(void* queue) noexcept;  // the executor has thrown: the exception is current
    void* queue;
  };
  key_crew(const any_executor& executor, std::uint32_t most, duties what)
      : office_(executor ? new office(executor, most, what, *this) : nullptr) {}
  key_crew(const key_crew&) = delete;
  key_crew& operator=(const key_crew&) = delete;
  ~key_crew() {
    if (office_ != nullptr) office_->release();
  }

  // ---- work at rest; a shard's bit is changed under its lock

  // Returns: true if nobody who knows of it is on the way: see claim().
  void mark(unsigned shard) noexcept {
    // order: seq_cst [key_crew.mark] total order with [key_crew.look], [key_crew.rests], [key_crew.change]: the one who leaves sees the work, or the one who brings it sees nobody on the way
    bits_.fetch_or(std::uint64_t{1} << shard, std::memory_order_seq_cst);
  }
  void clear(unsigned shard) noexcept {
    // order: relaxed: the lock of the shard orders it for those who set it
    bits_.fetch_and(~(std::uint64_t{1} << shard), std::memory_order_relaxed);
  }
  std::uint64_t rests() const noexcept {
    // order: seq_cst [key_crew.rests] total order with [key_crew.mark], [key_crew.change]: see there
    return bits_.load(std::memory_order_seq_cst);
  }

  // ---- who does it

  bool works() const noexcept {
    // order: relaxed: a bit that never goes back; who reads it late asks in vain once
    return office_ != nullptr && (office_->crew.load(std::memory_order_relaxed) & gone) == 0;
  }

  enum class claim_result : unsigned char { somebody_comes, ask, alone };
  // Preconditions: there is a key, and its shard is locked; or this thread is at the gate.
  // Returns: ask: the caller has to call ask(), and may; alone: no executor does it.
  claim_result claim() noexcept {
    if (office_ == nullptr) return claim_result::alone;
    for (;;) {
      // order: seq_cst [key_crew.look] total order with [key_crew.mark], [key_crew.change]: see mark()
      std::uint32_t seen = office_->crew.load(std::memory_order_seq_cst);
      if ((seen & gone) != 0) return claim_result::alone;
      if ((seen & asked) != 0 || seen / member >= office_->most) {
        return claim_result::somebody_comes;
      }
      const std::uint32_t with_job = seen | asked;
      // order: relaxed/relaxed: who sees the bit relies on the job, which looks when it has begun
      if (office_->crew.compare_exchange_weak(seen, with_job, std::memory_order_relaxed,
                                              std::memory_order_relaxed)) {
        break;
      }
    }
    pass_gate();
    return claim_result::ask;
  }

  // Preconditions: claim() said so; no lock is held. Returns: false if the executor did not take
  // the job: this thread, which is at the gate still, has to do the work.
  bool ask() noexcept {
    office& here = *office_;
    // order: relaxed: who copies has one
    here.users.fetch_add(1, std::memory_order_relaxed);
    office::call now{&here, std::exchange(office::innermost, &now)};
    bool taken = true;
    try {
      here.executor.execute(job{&actions, &here});
    } catch (...) {
      taken = false;
      here.what.failed(here.what.queue);
    }
    office::innermost = now.outer;
    if (taken && !now.came_back) {
      leave_gate();
      return true;
    }
    change(here, 0U - asked);  // this thread looks itself
    here.release();
    return false;
  }

  // Returns: whether a job of this crew is at work on this thread.
  bool here() const noexcept {
    const at_work* job = at_work::innermost;
    while (job != nullptr && job->whose != office_) job = job->outer;
    return job != nullptr && office_ != nullptr;
  }

  // ---- the gate

  void pass_gate() noexcept {
    // order: relaxed: the lock of a shard, or the gate that was passed before, orders it
    gate().fetch_add(through, std::memory_order_relaxed);
  }
  // Effects: the last touch of the queue.
  void leave_gate() noexcept { leave(gate()); }
  // Effects: waits until nobody is inside. Preconditions: there is no key, and will be none.
  void close_gate() noexcept {
    // order: acquire [key_crew.close] pairs with [key_crew.pass_out]: sees what those did who were inside
    std::uint32_t seen = gate().fetch_or(shut, std::memory_order_acquire) | shut;
    while (seen != shut) {
      park(gate(), seen);
      // order: acquire [key_crew.closing] pairs with [key_crew.pass_out]: the same
      seen = gate().load(std::memory_order_acquire);
    }
  }

  // ---- for `serve` of own workers: to search for a while before going home

  // Returns: true if this job is now the one on the way.
  bool begin_search() noexcept {
    // order: relaxed: a guess that the exchange below verifies
    std::uint32_t seen = office_->crew.load(std::memory_order_relaxed);
    // order: relaxed/relaxed: to search is to be asked; end_search() orders what it misses
    return (seen & asked) == 0 &&
           office_->crew.compare_exchange_strong(seen, seen + asked, std::memory_order_relaxed,
                                                 std::memory_order_relaxed);
  }
  void end_search() noexcept { change(*office_, 0U - asked); }

private:
  static constexpr std::uint32_t asked = 1, gone = 2, member = 4;  // crew: flags, and members
  static constexpr std::uint32_t shut = 1, through = 2;            // gate: a flag, and those inside
  static constexpr std::uint32_t last_through = through | shut;

  struct office {
    office(any_executor to, std::uint32_t jobs, duties d, key_crew& its)
        : executor(std::move(to)), most(jobs), what(d), home(&its) {}

    // A call of execute() on this thread: a job that runs or goes inside it was not taken.
    struct call {
      const office* whose;
      call* outer;
      bool came_back = false;
    };
    static inline constinit thread_local call* innermost = nullptr;

    bool came_back() const noexcept {
      for (call* c = innermost; c != nullptr; c = c->outer) {
        if (c->whose == this) return c->came_back = true;
      }
      return false;
    }
    void release() noexcept {
      // order: acq_rel [key_crew.release] pairs with [key_crew.release]: the last sees all that the others did
      if (users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    const any_executor executor;
    const std::uint32_t most;
    const duties what;
    key_crew* const home;  // behind the gate only
    std::atomic<std::uint32_t> crew{0};
    park_word gate{0};
    std::atomic<std::uint32_t> users{1};
  };

  struct at_work {
    explicit at_work(const office& its) noexcept
        : whose(&its), outer(std::exchange(innermost, this)) {}
    ~at_work() { innermost = outer; }
    at_work(const at_work&) = delete;
    at_work& operator=(const at_work&) = delete;

    const office* const whose;
    at_work* const outer;
    static inline constinit thread_local at_work* innermost = nullptr;
  };

  park_word& gate() noexcept { return office_ != nullptr ? office_->gate : own_gate_; }

  static void leave(park_word& at) noexcept {
    park_word* const address = &at;
    // order: release [key_crew.pass_out] pairs with [key_crew.close], [key_crew.closing]: publishes what was done inside
    if (at.fetch_sub(through, std::memory_order_release) == last_through) unpark_all(address);
  }

  static void change(office& here, std::uint32_t by) noexcept {
    // order: seq_cst [key_crew.change] total order with [key_crew.mark], [key_crew.look], [key_crew.rests]: who changes this looks for work behind it, or its bringer sees the change
    here.crew.fetch_add(by, std::memory_order_seq_cst);
  }

  // Returns: false if the queue is gone.
  static bool enter(office& here) noexcept {
    // order: relaxed: the word has one order; the executor, and the lock of a shard, order the rest
    if ((here.gate.fetch_add(through, std::memory_order_relaxed) & shut) == 0) return true;
    leave(here.gate);
    return false;
  }

  static void run(void* self) noexcept {
    office& here = *static_cast<office*>(self);
    if (here.came_back()) return;
    if (enter(here)) {
      const at_work now(here);
      change(here, member - asked);  // no longer on the way, but there
      here.what.serve(here.what.queue);
      here.home->go_home();
    }
    here.release();
  }
  static void dropped(void* self) noexcept {
    office& here = *static_cast<office*>(self);
    if (here.came_back()) return;
    change(here, gone - asked);  // who brings work now does it
    if (enter(here)) {
      while (here.home->rests() != 0) here.what.serve(here.what.queue);
      leave(here.gate);
    }
    here.release();
  }
  static constexpr job_actions actions{&run, &dropped};

  void go_home() noexcept {
    change(*office_, 0U - member);
    while (rests() != 0) {
      const claim_result how = claim();
      if (how == claim_result::somebody_comes) break;
      if (how == claim_result::ask && ask()) break;
      if (how == claim_result::ask) leave_gate();  // one passage is enough
      office_->what.serve(office_->what.queue);
    }
    leave_gate();
  }

  std::atomic<std::uint64_t> bits_{0};
  office* const office_;
  park_word own_gate_{0};
};

}  // namespace interlock::detail
