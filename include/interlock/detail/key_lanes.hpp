// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_lanes.hpp - the shards of a keyed queue: who does which head, and what next.
//
// A head is done by its runner: the thread that found the key idle, a thread in the line to which
// the role went, or a job of the crew that found the head at rest. When a head is done, its runner
// takes the next of the line, passes the role on, or lays the key to rest for the crew. What a task
// posts to an idle key rests too, until its thread has left its keys: nothing nests.
//
// Whoever lets go of the last key may find the queue gone behind the unlock. So it touches nothing
// behind that, but as the runner of another key, or with a passage through the gate (key_crew.hpp).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "../wait_status.hpp"
#include "key_ends.hpp"
#include "stoppable.hpp"

namespace interlock::detail {

template <class Key, class Hash, class Equal>
class key_lanes : public key_ends<Key, Hash, Equal> {
  using base = key_ends<Key, Hash, Equal>;

public:
  using typename base::claim_result;
  using typename base::kind;
  using typename base::place;
  using typename base::seeking;
  using typename base::shard;
  using typename base::standing;
  using typename base::turn;
  using typename base::work;
  using base::hash_of;
  using base::help;
  using base::home_of;
  using base::expect_withdrawn;
  using base::lend_a_hand;
  using base::withdraw;

  key_lanes(const queue_options& options, key_limits bounds, const any_executor& executor,
            std::uint32_t most_jobs, bool own_workers)
      : base(options, bounds, executor, most_jobs, own_workers) {}

  using listed_wait = key_wait<key_lanes, work>;

  // ---- one piece of work without a line, by this thread

  // Returns: true if the key was idle: this thread is its runner, and has to leave() it.
  bool enter(work& head, bool limited = false) {
    shard& home = home_of(head.hash);
    const std::lock_guard lock(home.lock);
    if (home.keys.find(head.hash, head.key(), equal_) != nullptr) return false;
    if (home.closed || !this->open(home, head) || !this->take_key(limited)) return false;
    ++home.accepted;
    home.keys.insert(head);
    head.last = &head;
    head.where = place::running;
    key_frame::does(&head);
    return true;
  }
  // Effects: the head is done. This thread goes on with what has come, as far as it helps.
  void leave(key_work& head, ending how, turn& now) noexcept {
    shard& home = home_of(head.hash);
    {
      const std::lock_guard lock(home.lock);
      if (head.next == nullptr && !home.closed) [[likely]] {
        this->count(home, how);
        home.keys.erase(head);
        this->free_key();
        return;
      }
    }
    leave_to_others(head, how, now);
  }
  [[gnu::noinline]] void leave_to_others(key_work& head, ending how, turn& now) noexcept {
    const std::uint32_t budget = help();
    key_work* own = nullptr;
    const key_step to = done(head, how, own, budget);
    if (to.mine()) return work_through(to.head, nullptr, budget == 0 ? 0 : budget - 1, now);
    pass_on(to);
  }
  void never_came(const key_work& head) noexcept {  // its task could not be copied
    shard& home = home_of(head.hash);
    const std::lock_guard lock(home.lock);
    --home.accepted;
  }

  // ---- a line

  // Effects: the work takes its place. Posted work for an idle key rests if it is not for this
  //          thread to do at once; all else makes this thread the runner.
  key_arrival admit(work& w, bool rests) {
    shard& home = home_of(w.hash);
    const std::lock_guard lock(home.lock);
    return take_in(home, w, rests);
  }
  // Effects: the same for a task. If it is full and `waits`, who seeks a place for the task takes
  //          its place in the line instead: then the arrival says that it waits.
  key_arrival seek(seeking& seeker, work& task, bool rests, bool waits = true) {
    shard& home = home_of(task.hash);
    const std::lock_guard lock(home.lock);
    if (seeker.ended) return {standing::ended};
    key_arrival arrived = take_in(home, task, rests);
    if (arrived.how == standing::full && waits) {
      seeker.seeks = true;
      arrived = take_in(home, seeker, !seeker.helps);
      arrived.waits = true;
    } else {
      seeker.ended = true;
    }
    return arrived;
  }

  // Effects: does what an arrival leaves to do for who brought the work; `own` is that, if this
  //          thread waits for it.
  void settle(const key_arrival& arrived, key_work* own, turn& now) noexcept {
    if (arrived.how == standing::runner) work_through(arrived.head, own, help(), now);
    if (arrived.how == standing::resting) this->call(arrived.call);
    if (arrived.dropped != nullptr) {
      cancel_now(*arrived.dropped);
      withdrawals_.end();
    }
  }

  // Effects: waits until the work is done. Returns: false if that would never be: it is withdrawn.
  bool wait(work& w) noexcept {
    const listed_wait listed(*this, w, false);
    if (listed.closes_circle() && withdraw(w, false)) return false;
    wait_in_line(w, nullptr);
    return true;
  }
  // Effects: waits until the work is done, or taken out of the line by the stop or the deadline.
  // Returns: overloaded if it closes a circle, as above. Throws: what listening to `stop` throws.
  template <class Stop>
  wait_status wait_until(work& w, const std::chrono::steady_clock::time_point* deadline,
                         const Stop& stop) {
    const listed_wait listed(*this, w, can_stop<Stop> || deadline != nullptr);
    if (listed.closes_circle() && withdraw(w, false)) return wait_status::overloaded;
    bool stopped = false;
    const auto leave_line = [&]() noexcept {
      if (!withdraw(w, true)) return;
      stopped = true;
      w.tell(key_work::done);
    };
    std::optional<typename stop_callback_of<Stop, decltype(leave_line)>::type> on_stop;
    try {
      on_stop.emplace(stop, leave_line);
    } catch (...) {
      if (withdraw(w, false)) throw;  // else it has begun, or has its place
    }
    if (!wait_in_line(w, deadline)) {
      if (withdraw(w, true)) return wait_status::timed_out;
      wait_in_line(w, nullptr);
    }
    return stopped ? wait_status::cancelled : wait_status::acquired;
  }
  // Returns: what has to end before the work begins: the head of its key, if that has begun.
  //          nullptr also if the work itself has begun or will not.
  const key_work* head_before(const work& w) const noexcept {
    shard& home = home_of(w.hash);
    const std::lock_guard lock(home.lock);
    if (w.ended || w.given) return nullptr;
    const key_work* const head = home.keys.find(w.hash, w.key(), equal_);
    return head != nullptr && head->where == place::running ? head : nullptr;
  }

  // Effects: goes on after the coroutine that has held the key and has ended now.
  void resumed(key_work& head, ending how) noexcept {
    turn now(*this);
    work_through(&head, nullptr, help(), now, how);
  }

  // Preconditions: closed. Effects: waits until there is no key, and nobody here.
  void wait_until_gone() noexcept {
    for (shard& home : shards_) {
      for (std::unique_lock lock(home.lock); home.keys.size() != 0; lock.lock()) {
        // order: relaxed: written under the lock that is held here
        const std::uint32_t seen = home.emptied.load(std::memory_order_relaxed);
        lock.unlock();
        lend_a_hand();
        trampoline::run_ready();
        park(home.emptied, seen);
      }
    }
    crew_.close_gate();
    expect_withdrawn();
  }

private:
  using typename base::key_step;
  using base::bounds_;
  using base::cancel_now;
  using base::crew_;
  using base::equal_;
  using base::shards_;
  using base::withdrawals_;

  key_arrival take_in(shard& home, work& w, bool rests) {
    key_work* const head = home.keys.find(w.hash, w.key(), equal_);
    if (w.ended) return {standing::ended};
    if (head == nullptr && !w.counts()) return {standing::idle};
    if (w.counts() && (home.closed || !this->open(home, w))) return {standing::closed};
    if (w.helps && head != nullptr && head->where == place::running &&
        inside::holds(inside::innermost, head)) {
      return {standing::deadlock};
    }
    if (w.what == kind::posted && !this->has_room(head)) {
      key_work* const oldest = this->to_drop(head);
      return oldest == nullptr ? key_arrival{standing::full} : instead_of(home, *head, *oldest, w);
    }
    if (head == nullptr && !this->take_key(w.what == kind::posted)) return this->no_key_left();
    const bool takes_role = w.helps && head != nullptr && head->where == place::resting;
    if (head == nullptr || takes_role) w.seeks = false;  // it has its turn, or goes on to it
    home.accepted += w.counts() && !w.seeks;
    if (head == nullptr) return this->first_of_key(home, w, rests);
    this->append(*head, w);
    this->note_queued(w);
    if (!takes_role) return {standing::in_line};
    this->wake_up(home, *head);
    this->begin(*head);
    return {standing::runner, head};
  }
  // Effects: the work takes its place in the line, and that of an older one.
  key_arrival instead_of(shard& home, key_work& head, key_work& oldest, work& w) {
    ++home.accepted;
    this->append(head, w);  // first, so that the key stays
    this->remove(home, static_cast<work&>(oldest), true);
    this->note_queued(w);
    this->seldom_.count_dropped();
    withdrawals_.begin();
    key_arrival arrived{standing::in_line};
    arrived.dropped = &oldest;
    return arrived;
  }

  // ---- no lock

  // Returns: false if the deadline has passed.
  bool wait_in_line(work& w, const std::chrono::steady_clock::time_point* deadline) noexcept {
    for (;;) {
      trampoline::run_ready();  // what this thread has made ready may hold what the work needs
      const std::uint32_t news = w.wait(deadline);
      if (news != key_work::role) return news == key_work::done;
      turn now(*this);
      key_work* head = nullptr;
      {
        shard& home = home_of(w.hash);
        const std::lock_guard lock(home.lock);
        w.given = false;
        head = home.keys.find(w.hash, w.key(), equal_);
        this->begin(*head);
      }
      work_through(head, &w, help(), now);
    }
  }

  // Effects: the head has ended. `own` is forgotten if it was taken out of the line meanwhile: then
  //          this thread has nothing left to stay for.
  key_step done(key_work& head, ending how, key_work*& own, std::uint32_t budget) noexcept {
    shard& home = home_of(head.hash);
    bool was_last = false;
    key_step to;
    key_frame::does(nullptr);
    {
      const std::lock_guard lock(home.lock);
      if (own != nullptr && own->where == place::nowhere) own = nullptr;
      key_work* const next = this->retire(home, head, how, was_last);
      if (next != nullptr) to = this->decide(home, *next, own == nullptr && budget == 0);
    }
    if (was_last) unpark_all(&home.emptied);
    return to;
  }

  // Effects: gives away what is not for this thread to do.
  void pass_on(const key_step& to) noexcept {
    if (to.heir != nullptr) to.heir->tell(key_work::role);
    if (to.rests) this->call(to.call);
  }

  // Preconditions: this thread is the runner of the head, which has ended like `how`, or, if that
  // is `none`, is to be done. It stays until `own` is done and the budget is spent on others.
  void work_through(key_work* head, key_work* own, std::uint32_t budget, turn& now,
                    ending how = ending::none) noexcept {
    for (bool begun = how != ending::none;; begun = false) {
      if (!begun) {
        this->tell_placed(*head, now.awake);
        how = this->perform(*head);
      }
      if (how == ending::suspended) return;  // the coroutine holds the key
      if (head == own) own = nullptr;
      const key_step to = done(*head, how, own, budget);
      this->finish(*head, now.awake);
      if (!to.mine()) return pass_on(to);
      head = to.head;
      if (own == nullptr && budget != 0) --budget;
    }
  }
};

// This thread has entered the head, and leaves it at the end of this. What it does then for others
// must not see an exception in flight: so end() first, where one has been caught.
template <class Lanes, class Work>
struct key_stay {
  ~key_stay() {
    if (!over) lanes.leave(head, how, now);
  }
  void end() noexcept {
    over = true;
    lanes.leave(head, how, now);
    now.end();
  }
  Lanes& lanes;
  Work& head;
  typename Lanes::turn& now;
  ending how;
  bool over = false;
};

}  // namespace interlock::detail
