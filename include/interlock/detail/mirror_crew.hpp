// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_crew.hpp - who sends for a mirror: threads of its own, or jobs of an
// executor.
//
// A job is one send. There are as many out as keys may be sent at the same time, at most, and none
// while there is nothing to send. What waits for its time has an alarm: a job with a delay. One
// that comes too late, because the mirror is gone or did the work before, finds that out by its
// link. An executor that throws took nothing: the thread that called it lends a hand instead, waits
// included, until there is nothing left to do or the executor takes what waits for its time. Who
// closes lends a hand too: it may be the thread that the jobs are for. A hand that is lent for a
// flush ends with the flush if that is called off or late: if it was the last one, what is in line
// is stranded until somebody touches or flushes it, or closes.
//
// What the lock decides is done without it: an errand. When it is run the mirror may be gone,
// unless a job is at work or a hand is lent: so is one that still calls the executor.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "futex_mutex.hpp"
#include "mirror_alarms.hpp"
#include "mirror_errand.hpp"
#include "parking.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Line: the mirror_line whose lock guards all of this.
template <class Line, class Thread>
class mirror_crew {
public:
  using nanoseconds = std::chrono::nanoseconds;
  using time_point = mirror_schedule::time_point;

  using errand = mirror_errand<mirror_crew>;

  mirror_crew(Line& line, std::uint32_t parallel, mirror_schedule how)
      : line_(line), parallel_(parallel), threaded_(!how.run) {
    by_ = std::make_shared<link>(std::move(how));
    by_->crew = this;
    if (!threaded_) return;
    threads_.reserve(parallel);
    try {
      while (threads_.size() < parallel) threads_.emplace_back([this] { serve(false); });
    } catch (...) {
      line_.wait_for_end(nullptr);  // nothing was begun
      join();
      throw;
    }
  }
  mirror_crew(const mirror_crew&) = delete;
  mirror_crew& operator=(const mirror_crew&) = delete;

  void join() noexcept {
    for (Thread& each : threads_) {
      if (each.joinable()) each.join();
    }
    threads_.clear();
  }

  time_point now() const {
    return by_->how.now ? by_->how.now() : std::chrono::steady_clock::now();
  }

  // ---- with the line's lock held ----------------------------------------------------------------

  // Effects: somebody will call take(), who has not begun to.
  void need_sender(errand& todo) noexcept {
    call_closer(todo);
    if (!threaded_ && jobs_ < parallel_) {
      ++jobs_;
      ++todo.jobs;
      todo.by = by_;
    } else {
      rouse(todo);
    }
  }

  // Effects: somebody will look when the first of those that wait for their time is due.
  void need_alarm(errand& todo) noexcept {
    const time_point first = line_.first_due();
    if (threaded_ || sleepers_ != 0) return rouse(todo);
    if (todo.looks_on || alarms_.cover(first)) return;
    todo.rings = true;
    todo.next = alarms_.begin(first, now());
    todo.by = by_;
  }

  void all_done(errand& todo) noexcept {
    if (std::exchange(done_, true)) return;
    ended_.ring();
    todo.end = &ended_.word;
    signal_.ring();
    todo.all = &signal_.word;
  }

  // Effects: should a hand be lent for this errand, it ends with the wait that knows it as that.
  void may_lend(lent_hand& hand, lent_hand*& wait, errand& todo) noexcept {
    if (todo.jobs == 0 && !todo.rings) return;
    todo.hand = wait = &hand;
    hand.known_as = &wait;
    hand.counted = true;
    ++working_;
  }
  // Effects: who it is lent for waits no more.
  void call_off(lent_hand& hand, errand& todo) noexcept {
    hand.forget();
    hand.called_off = true;
    if (sleepers_ == 0) return;
    signal_.ring();
    todo.all = &signal_.word;
  }

  // Effects: one of those who send has sent.
  void sent() noexcept { --active_; }

  bool is_here() const noexcept { return server::is_among(servers_); }

  // ---- without a lock ---------------------------------------------------------------------------

  void run(errand& todo) noexcept {
    run_gone(todo);
    for (; todo.jobs != 0; --todo.jobs) start_job(todo);
  }

  // Effects: what may_lend() began has ended; this may be gone then.
  void take_back(lent_hand& hand) noexcept {
    errand last;
    {
      const std::lock_guard lock(line_.mutex());
      hand.forget();
      stop_work(last);
    }
    run_gone(last);
  }

  // Effects: blocks until no key is in line and no job at work, or past the deadline. Sends what no
  //          job has come for.
  // Returns: true if so. Preconditions: nothing new gets into line.
  template <class Lock>
  bool wait_until_left(Lock& lock, const time_point* deadline) noexcept {
    for (bool in_time = true;;) {
      if (line_.at_end()) {
        disconnect(lock);
        if (working_ == 0) return true;
      }
      if (!in_time) return false;
      const bool late = deadline != nullptr && std::chrono::steady_clock::now() >= *deadline;
      if (!threaded_ && !late && line_.any_ready() && active_ < parallel_) {
        help(lock, deadline);
        continue;
      }
      const std::uint32_t seen = ended_.rings;
      lock.unlock();
      if (deadline == nullptr) {
        park(ended_.word, seen);
      } else {
        in_time = park_until(ended_.word, seen, *deadline);
      }
      lock.lock();
    }
  }

private:
  using key = typename Line::key;
  using server = mirror_server;
  using link = mirror_link<mirror_crew>;
  using alarm = mirror_alarms::alarm;

  struct look {
    key* next;
    bool over = false;
    bool asks = false;  // whether the executor takes this alarm
    alarm of{};
    std::uint32_t seen = 0;
    time_point until{};
  };

  void rouse(errand& todo) noexcept {
    if (sleepers_ == 0) return;
    signal_.ring();
    (todo.wake == nullptr ? todo.wake : todo.all) = &signal_.word;
  }

  // As run(), by one who need not be counted: uses addresses and the link alone.
  static void run_gone(const errand& todo) noexcept {
    todo.wake_up();
    if (todo.rings) set_alarm(todo);
  }

  void start_job(const errand& todo) noexcept {
    if (todo.by->runs(nanoseconds(0), [by = todo.by] { job(*by, nullptr); })) return;
    if (!todo.looks_on) return serve(true, todo.hand);  // the job is still counted
    const std::lock_guard lock(line_.mutex());
    --jobs_;
  }

  static void set_alarm(const errand& todo) noexcept {
    if (asks(todo.by, todo.next)) return;
    mirror_crew* const crew = enter(*todo.by, &todo.next, [](mirror_crew&) {});
    if (crew != nullptr) crew->serve(true, todo.hand, true);
  }
  // Returns: whether the executor took it.
  static bool asks(const std::shared_ptr<link>& by, const alarm& of) noexcept {
    return by->runs(of.delay, [by, of] { job(*by, &of); });
  }

  // Effects: a job is at work, and calls begin(crew). Returns: the crew; nullptr if it is gone.
  template <class F>
  static mirror_crew* enter(link& by, const alarm* rang, F begin) noexcept {
    const std::lock_guard alive(by.mutex);
    mirror_crew* const crew = by.crew;
    if (crew == nullptr) return nullptr;
    const std::lock_guard lock(crew->line_.mutex());
    if (rang != nullptr) {
      crew->alarms_.end(*rang, crew->now());
      ++crew->jobs_;
    }
    ++crew->working_;
    begin(*crew);
    return crew;
  }

  template <class Lock>
  void disconnect(Lock& lock) noexcept {
    if (std::exchange(connected_, false)) {
      lock.unlock();
      by_->cut();
      lock.lock();
    }
  }

  // One send, then the next job if it takes one.
  static void job(link& by, const alarm* rang) noexcept {
    server me;
    errand todo = errand::of(nullptr);  // no hand is lent before what it took is sent
    key* next = nullptr;
    mirror_crew* const crew = enter(by, rang, [&](mirror_crew& here) {
      here.servers_.push_back(me);
      next = here.take(todo);
    });
    if (crew == nullptr) return;
    crew->run(todo);
    errand behind;
    if (next != nullptr) crew->line_.send(*next, behind);
    crew->leave_job(me);
  }

  // Returns: the next key, which is the caller's to send; nullptr: there is none, or as many are
  //          being sent as may be, and those who do so go on.
  key* take(errand& todo) noexcept {
    if (active_ >= parallel_) {
      line_.promote(todo);
      return nullptr;
    }
    key* const next = line_.take(todo);
    if (next != nullptr) ++active_;
    return next;
  }

  template <class Lock>
  void help(Lock& lock, const time_point* deadline) noexcept {
    server me;
    const lent_hand hand{deadline};
    errand todo = errand::of(&hand);
    servers_.push_back(me);
    key* const next = take(todo);
    lock.unlock();
    run(todo);
    errand behind = errand::of(&hand);
    line_.send(*next, behind);
    lock.lock();
    servers_.remove(me);
  }
  void call_closer(errand& todo) noexcept {
    if (threaded_ || !line_.closing()) return;
    ended_.ring();
    todo.end = &ended_.word;
  }

  // The next job takes this one's place in the count.
  void leave_job(server& me) noexcept {
    errand todo;
    {
      const std::lock_guard lock(line_.mutex());
      servers_.remove(me);
      if (line_.any_ready() && jobs_ <= parallel_ && active_ < parallel_) {
        call_closer(todo);
        todo.jobs = 1;
        todo.by = by_;
      } else {
        if (line_.first_due() != time_point::max()) need_alarm(todo);
        --jobs_;
      }
      if (todo.jobs == 0 && !todo.rings) stop_work(todo);
    }
    if (todo.jobs == 0 && !todo.rings) return run_gone(todo);
    run(todo);
    lent_hand nobodys;
    take_back(nobodys);
  }

  void stop_work(errand& todo) noexcept {
    --working_;
    if (working_ != 0 || !line_.at_end()) return;
    ended_.ring();
    todo.end = &ended_.word;
  }

  // What a thread of its own does until the end; or one that lends a hand until all is done, or the
  // executor takes what waits for its time, or the hand is over.
  void serve(bool lent, const lent_hand* hand = nullptr, bool refused = false) noexcept {
    for (server me;;) {
      errand todo = errand::of(hand);
      const look now = look_around(me, lent && !refused, lent, todo);
      if (now.over) return run_gone(todo);
      run(todo);
      refused = now.asks && !asks(by_, now.of);
      if (refused) {
        const std::lock_guard lock(line_.mutex());
        alarms_.end(now.of, this->now());
      }
      if (now.next != nullptr) {
        errand behind = errand::of(hand);
        line_.send(*now.next, behind);
      } else if (!now.asks) {
        sleep(now, hand != nullptr ? hand->until : nullptr);
      }
    }
  }

  look look_around(server& me, bool may_ask, bool lent, errand& todo) noexcept {
    const std::lock_guard lock(line_.mutex());
    if (me.previous == nullptr) {
      servers_.push_back(me);
      if (may_ask) ++working_;  // one that was refused has been counted
    }
    if (std::exchange(me.slept, false)) --sleepers_;
    const bool late = todo.hand != nullptr && todo.hand->is_over();
    key* const next = late ? nullptr : take(todo);
    if (next != nullptr) return {next};
    const time_point due = line_.first_due();
    if (lent ? late || due == time_point::max() || alarms_.cover(due) : line_.at_end()) {
      servers_.remove(me);
      if (lent) {
        --jobs_;
        if (late) leave_to_others(todo);
        stop_work(todo);
      }
      return {nullptr, true};
    }
    if (may_ask) return {nullptr, false, true, alarms_.begin(due, now())};
    me.slept = true;
    ++sleepers_;
    return {nullptr, false, false, {}, signal_.rings, due};
  }

  // Effects: somebody else looks at what is in line, if there is anybody.
  void leave_to_others(errand& todo) noexcept {
    if (!line_.any_waits()) return;
    call_closer(todo);
    rouse(todo);
    if (jobs_ == 0) line_.strand();
  }

  void sleep(const look& now, const time_point* end) noexcept {
    if (now.until == time_point::max() && end == nullptr) return park(signal_.word, now.seen);
    time_point until = time_point::max();
    if (now.until != until) {  // by whatever clock, so long from now
      until = std::chrono::steady_clock::now() + (now.until - this->now());
    }
    park_until(signal_.word, now.seen, end == nullptr ? until : std::min(until, *end));
  }

  Line& line_;
  const std::uint32_t parallel_;
  const bool threaded_;
  std::shared_ptr<link> by_;

  mirror_bell signal_;  // of senders
  mirror_bell ended_;   // of those who wait for the end

  // Under the line's lock:
  ring_of<server> servers_;
  std::uint32_t sleepers_ = 0;
  std::uint32_t jobs_ = 0;     // out, or at work; and hands that are lent
  std::uint32_t working_ = 0;  // of these, those that have begun, until they touch nothing here
  std::uint32_t active_ = 0;   // keys that are being sent
  bool connected_ = true;
  bool done_ = false;          // all_done() was called
  mirror_alarms alarms_;

  std::vector<Thread> threads_;
};

}  // namespace interlock::detail
