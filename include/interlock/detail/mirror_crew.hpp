// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_crew.hpp - who sends for a mirror: threads of its own, or jobs of an
// executor.
//
// A job is one send. There are as many out as keys may be sent at the same time, at most, and none
// while there is nothing to send. What waits for its time has an alarm: a job with a delay. An
// alarm that comes too late, because the mirror is gone or did the work before, finds that out by
// its link. An executor that throws took nothing: the thread that called it lends a hand instead
// until there is nothing left to do, waits included.
//
// What the lock decides is done without it: an errand. When it is run the mirror may be gone,
// unless a job or a lent hand is still counted.

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
#include "parking.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

struct mirror_schedule {
  using time_point = std::chrono::steady_clock::time_point;
  std::function<void(std::chrono::nanoseconds, std::function<void()>)> run;  // empty: threads
  std::function<time_point()> now;                                           // empty: steady_clock
};

// Line: the mirror_line whose lock guards all of this.
template <class Line, class Thread>
class mirror_crew {
public:
  using nanoseconds = std::chrono::nanoseconds;
  using time_point = mirror_schedule::time_point;

private:
  // Outlives the mirror if an alarm does.
  struct link {
    explicit link(mirror_schedule given) : how(std::move(given)) {}
    const mirror_schedule how;
    futex_mutex mutex;            // taken before the line's
    mirror_crew* crew = nullptr;  // null: gone
  };

public:
  struct errand {
    std::uint32_t jobs = 0;
    bool rings = false;  // an alarm is to be set
    time_point at{};
    nanoseconds delay{0};
    const park_word* wake = nullptr;  // one sender sleeps
    const park_word* all = nullptr;   // senders sleep, and there is nothing left to send
    const park_word* end = nullptr;   // whoever waits for that
    std::shared_ptr<link> by{};

    bool idle() const noexcept {
      return jobs == 0 && !rings && wake == nullptr && all == nullptr && end == nullptr;
    }
  };

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
    if (threaded_ || lenders_ != 0) return rouse(todo);
    if (first >= alarm_at_) return;
    alarm_at_ = first;
    todo.rings = true;
    todo.at = first;
    todo.delay = first - now();
    todo.by = by_;
  }

  void all_done(errand& todo) noexcept {
    if (std::exchange(done_, true)) return;
    ended_.ring();
    todo.end = &ended_.word;
    signal_.ring();
    todo.all = &signal_.word;
  }

  bool is_here() const noexcept {
    for (server* each = servers_.first(); each != nullptr; each = servers_.after(*each)) {
      if (each->thread == this_thread()) return true;
    }
    return false;
  }

  // ---- without a lock ---------------------------------------------------------------------------

  void run(errand& todo) noexcept {
    run_gone(todo);
    for (; todo.jobs != 0; --todo.jobs) start_job(*todo.by);
  }

  // Effects: blocks until no key is in line and no job is out, or past the deadline.
  // Returns: true if so. Preconditions: nothing new gets into line.
  template <class Lock>
  bool wait_until_left(Lock& lock, const time_point* deadline) noexcept {
    for (bool in_time = true;;) {
      if (line_.at_end()) {
        disconnect(lock);
        if (jobs_ == 0) return true;
      }
      if (!in_time) return false;
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

  struct server {
    const void* thread = this_thread();
    bool slept = false;  // and is still counted as one who sleeps
    server* next = nullptr;
    server* previous = nullptr;
  };

  struct look {
    key* next;
    bool over = false;
    std::uint32_t seen = 0;
    time_point until{};
  };

  // What sleepers are woken by.
  struct bell {
    void ring() noexcept {
      // order: relaxed: under the line's lock; a sleeper compares it
      word.store(++rings, std::memory_order_relaxed);
    }
    park_word word{0};
    std::uint32_t rings = 0;  // under the lock
  };

  void rouse(errand& todo) noexcept {
    if (sleepers_ == 0) return;
    signal_.ring();
    (todo.wake == nullptr ? todo.wake : todo.all) = &signal_.word;
  }

  // As run(), by one who need not be counted: uses addresses and the link alone.
  static void run_gone(const errand& todo) noexcept {
    if (todo.wake != nullptr) unpark_one(todo.wake);
    if (todo.all != nullptr) unpark_all(todo.all);
    if (todo.end != nullptr) unpark_all(todo.end);
    if (todo.rings) set_alarm(todo);
  }

  void start_job(const link& by) noexcept {
    try {
      by.how.run(nanoseconds(0), [this] { job(); });
    } catch (...) {
      serve(true);  // the job is still counted
    }
  }

  static void set_alarm(const errand& todo) noexcept {
    try {
      todo.by->how.run(todo.delay, [by = todo.by, at = todo.at] {
        if (mirror_crew* const crew = enter(*by, at)) crew->job();
      });
    } catch (...) {
      if (mirror_crew* const crew = enter(*todo.by, todo.at)) crew->serve(true);
    }
  }

  // Returns: the crew, and a job of it is counted; nullptr if it is gone.
  static mirror_crew* enter(link& by, time_point at) noexcept {
    const std::lock_guard alive(by.mutex);
    if (by.crew == nullptr) return nullptr;
    const std::lock_guard lock(by.crew->line_.mutex());
    if (by.crew->alarm_at_ == at) by.crew->alarm_at_ = time_point::max();
    ++by.crew->jobs_;
    return by.crew;
  }

  template <class Lock>
  void disconnect(Lock& lock) noexcept {
    if (std::exchange(connected_, false)) {
      lock.unlock();
      {
        const std::lock_guard alive(by_->mutex);
        by_->crew = nullptr;
      }
      lock.lock();
    }
  }

  // One send, then the next job if it takes one. This one is counted.
  void job() noexcept {
    server me;
    errand todo;
    key* next = nullptr;
    {
      const std::lock_guard lock(line_.mutex());
      servers_.push_back(me);
      if (jobs_ <= parallel_) {
        next = line_.take(todo);
      } else {
        line_.promote(todo);  // an alarm, and all that may be are at work
      }
    }
    run(todo);
    if (next != nullptr) line_.send(*next);
    leave_job(me);
  }

  void leave_job(server& me) noexcept {
    errand todo;
    {
      const std::lock_guard lock(line_.mutex());
      servers_.remove(me);
      if (line_.any_ready() && jobs_ <= parallel_) {
        todo.jobs = 1;
        todo.by = by_;
      } else {
        if (line_.first_due() != time_point::max()) need_alarm(todo);
        uncount(todo);
      }
    }
    if (todo.jobs == 0) return run_gone(todo);
    run(todo);
  }

  void uncount(errand& todo) noexcept {
    --jobs_;
    if (jobs_ != 0 || !line_.at_end()) return;
    ended_.ring();
    todo.end = &ended_.word;
  }

  // What a thread of its own does until the end, or one that lends a hand until all is done.
  void serve(bool lent) noexcept {
    for (server me;;) {
      errand todo;
      const look now = look_around(me, lent, todo);
      if (now.over) return run_gone(todo);
      run(todo);
      now.next != nullptr ? line_.send(*now.next) : sleep(now);
    }
  }

  look look_around(server& me, bool lent, errand& todo) noexcept {
    const std::lock_guard lock(line_.mutex());
    if (me.previous == nullptr) {
      servers_.push_back(me);
      if (lent) ++lenders_;
    }
    if (std::exchange(me.slept, false)) --sleepers_;
    if (key* const next = line_.take(todo)) return {next};
    const time_point until = line_.first_due();
    if (lent ? until == time_point::max() : line_.at_end()) {
      servers_.remove(me);
      if (lent) {
        --lenders_;
        uncount(todo);
      }
      return {nullptr, true};
    }
    me.slept = true;
    ++sleepers_;
    return {nullptr, false, signal_.rings, until};
  }

  void sleep(const look& now) noexcept {
    if (now.until == time_point::max()) {
      park(signal_.word, now.seen);
    } else {  // by whatever clock, so long from now
      const auto delay = now.until - this->now();
      park_until(signal_.word, now.seen, std::chrono::steady_clock::now() + delay);
    }
  }

  Line& line_;
  const std::uint32_t parallel_;
  const bool threaded_;
  std::shared_ptr<link> by_;

  bell signal_;  // of senders
  bell ended_;   // of those who wait for the end

  // Under the line's lock:
  ring_of<server> servers_;
  std::uint32_t sleepers_ = 0;
  std::uint32_t jobs_ = 0;     // out, or at work; and hands that are lent
  std::uint32_t lenders_ = 0;  // of these
  bool connected_ = true;
  bool done_ = false;          // all_done() was called
  time_point alarm_at_ = time_point::max();  // of the earliest alarm that is set

  std::vector<Thread> threads_;
};

}  // namespace interlock::detail
