// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/lease_keeper.hpp - renews the leases of a process in time, and tells their
// holders before they end.
//
// One thread watches the time and does nothing else. What may block runs elsewhere. The callbacks
// of a holder have a thread of their own, so one that hangs holds up no other lease. Renewals run
// on threads that are made when all others are at work, up to 64: an engine that hangs holds up no
// other lease until so many wait for it, each for its timeout at most. A thread without work ends
// after some seconds.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "../../inplace_stop_token.hpp"
#include "../boot_clock.hpp"
#include "../outcome.hpp"
#include "local_clock.hpp"

namespace interlock::store::detail {

// What an engine said to a renewal.
enum class renewal : std::uint8_t {
  confirmed,
  gone,    // the lease is not the holder's any more
  no_word  // not done, or not known: to be tried again
};

[[nodiscard]] inline renewal renewal_of(const outcome<nothing>& said) {
  if (said) return renewal::confirmed;
  const bool gone =
      said.conflicted() || (said.refused() && said.error().code == errc::history_lost);
  return gone ? renewal::gone : renewal::no_word;
}
// Returns: a timeout for a renewal: half of what is left, so that there is time for another one.
[[nodiscard]] inline std::chrono::milliseconds renewal_timeout(std::chrono::milliseconds usual,
                                                               std::chrono::milliseconds left) {
  return std::max(std::min(usual, left / 2), std::chrono::milliseconds(1));
}

// When a lease that was asked for at `sent` ends for its holder: a hundredth before the engine ends
// it at the earliest, for clocks that differ in speed. He is told a little before that.
struct lease_times {
  using time_point = boot_clock::time_point;
  std::chrono::nanoseconds lease;

  [[nodiscard]] time_point deadline(time_point sent) const { return sent + lease - lease / 100; }
  [[nodiscard]] time_point told(time_point sent) const {
    const auto margin =
        std::min<std::chrono::nanoseconds>(lease / 20, std::chrono::milliseconds(200));
    return deadline(sent) - margin;
  }
  [[nodiscard]] time_point renewed(time_point sent) const { return sent + lease / 3; }
};

class lease_keeper;

// One lease that a process has.
class kept_lease {
public:
  using time_point = boot_clock::time_point;
  // Asks the engine, and answers within the time given. Called by one thread at a time.
  using ask = std::function<renewal(std::chrono::milliseconds)>;

  // Without an `ask` it is not renewed, and told of all the same.
  kept_lease(std::shared_ptr<const local_clock> clock, std::chrono::nanoseconds lease,
             time_point sent, ask renew)
      : clock_(std::move(clock)), times_{lease}, sent_(sent), renew_(std::move(renew)) {
    next_ = renew_ ? times_.renewed(sent) : times_.told(sent);
  }

  [[nodiscard]] time_point now() const { return clock_->now(); }
  [[nodiscard]] time_point deadline() const {
    const std::lock_guard lock(guard_);
    return times_.deadline(sent_);
  }
  // Returns: how long an operation may take that has to end before the holder is told.
  [[nodiscard]] std::chrono::nanoseconds left() const {
    const std::lock_guard lock(guard_);
    return times_.told(sent_) - clock_->now();
  }
  // Returns: whether the lease is the holder's by his own clock.
  [[nodiscard]] bool holds() const {
    const std::lock_guard lock(guard_);
    return is_ == phase::held && clock_->now() < times_.told(sent_);
  }
  [[nodiscard]] inplace_stop_token lost() const noexcept { return source_.get_token(); }

  // Effects: the engine has confirmed what was asked for at `sent`.
  void confirm(time_point sent) {
    const std::lock_guard lock(guard_);
    sent_ = std::max(sent_, sent);
  }
  // Effects: tells the holder, on this thread, unless the lease was ended.
  void lose() {
    {
      const std::lock_guard lock(guard_);
      if (is_ != phase::held) return;
      is_ = phase::lost;
    }
    source_.request_stop();
  }
  // Effects: nothing is asked or told from now on; what is under way goes on.
  void end() {
    ask dropped;
    const std::lock_guard lock(guard_);
    if (is_ == phase::held) is_ = phase::ended;
    dropped.swap(renew_);  // which may hold a client
  }

private:
  friend lease_keeper;
  enum class phase : std::uint8_t { held, lost, ended };
  enum class step : std::uint8_t { wait, renew, tell, drop };

  // Returns: what is to be done now. Effects: `next_` is when to look again.
  step due() {
    const std::lock_guard lock(guard_);
    if (is_ != phase::held) return step::drop;
    const time_point now = clock_->now();
    const time_point told = times_.told(sent_);
    if (now >= told) return step::tell;
    if (!renew_ || asking_) {
      next_ = told;
      return step::wait;
    }
    next_ = std::min(told, std::max(times_.renewed(sent_), not_before_));
    if (now < next_) return step::wait;
    asking_ = true;
    next_ = told;
    return step::renew;
  }
  // Effects: renews, on a thread that may block. Returns: whether the holder is to be told.
  bool renew_now() {
    ask asked;
    time_point told;
    const time_point sent = clock_->now();
    {
      const std::lock_guard lock(guard_);
      asked = renew_;
      told = times_.told(sent_);
    }
    renewal said = renewal::no_word;
    const auto left = std::chrono::floor<std::chrono::milliseconds>(told - sent);
    if (asked && left.count() > 0) {
      try {
        said = asked(left);
      } catch (...) {
        said = renewal::no_word;
      }
    }
    const std::lock_guard lock(guard_);
    asking_ = false;
    if (said == renewal::confirmed) sent_ = std::max(sent_, sent);
    if (said == renewal::no_word) not_before_ = clock_->now() + times_.lease / 12;
    return said == renewal::gone;
  }

  const std::shared_ptr<const local_clock> clock_;
  const lease_times times_;
  mutable std::mutex guard_;
  time_point sent_;  // of the last request that was confirmed
  ask renew_;
  phase is_ = phase::held;
  bool asking_ = false;
  time_point not_before_{};
  inplace_stop_source source_;
  time_point next_;  // when to look again; under the keeper's guard, as the next one
  std::uint64_t looks_ = 0;
};

class lease_keeper {
public:
  // Returns: that of the process; its threads end with the last who has it.
  [[nodiscard]] static std::shared_ptr<lease_keeper> of_process() {
    static std::mutex guard;
    static std::weak_ptr<lease_keeper> known;
    const std::lock_guard lock(guard);
    auto keeper = known.lock();
    if (keeper == nullptr) known = keeper = std::make_shared<lease_keeper>();
    return keeper;
  }

  lease_keeper() : core_(std::make_shared<core>()) {}
  lease_keeper(const lease_keeper&) = delete;
  lease_keeper& operator=(const lease_keeper&) = delete;
  // Effects: waits until its threads have ended, but for the one that it may be on.
  ~lease_keeper() {
    std::unique_lock lock(core_->guard);
    core_->stopping = true;
    core_->times.clear();
    core_->jobs.clear();
    core_->watch.notify_all();
    core_->work.notify_all();
    if (home == core_.get()) return;
    core_->ended.wait(lock, [this] { return core_->threads == 0; });
  }

  // Effects: watches over the lease from now on. Throws: std::system_error without a thread.
  void keep(const std::shared_ptr<kept_lease>& lease) {
    const std::lock_guard lock(core_->guard);
    core_->watch_over(lease);
  }
  // Effects: has f run then, or soon after, on a thread that may block. Throws: as keep.
  void at(const std::shared_ptr<const local_clock>& clock, boot_clock::time_point then,
          std::function<void()> f) {
    const std::lock_guard lock(core_->guard);
    core_->watch_at(clock, then, [f = std::move(f)](core& of) { of.hand_over(f, false); });
  }

private:
  struct core;
  using action = std::function<void(core&)>;  // under the guard
  using line = std::multimap<boot_clock::time_point, action>;

  // Returns: what looks at the lease once, unless a later look was asked for meanwhile.
  static action looking_at(const std::shared_ptr<kept_lease>& lease) {
    return [weak = std::weak_ptr(lease), look = ++lease->looks_](core& of) {
      const auto there = weak.lock();
      if (there != nullptr && there->looks_ == look) of.look(there);
    };
  }

  // Functions are called with the guard held, but for those that say otherwise.
  struct core : std::enable_shared_from_this<core> {
    std::mutex guard;  // protects all below
    std::condition_variable watch, work, ended;
    std::map<std::shared_ptr<const local_clock>, line> times;
    std::deque<std::function<void()>> jobs;
    std::size_t threads = 0;
    std::size_t workers = 0;
    std::size_t idle = 0;
    bool watched = false;
    bool stopping = false;

    void watch_at(const std::shared_ptr<const local_clock>& clock, boot_clock::time_point then,
                  action f) {
      if (!watched) {
        begin([this] { watch_times(); });
        watched = true;
      }
      line& of = times[clock];
      const bool first = of.empty() || then < of.begin()->first;
      of.emplace(then, std::move(f));
      if (first) watch.notify_one();
    }
    // A lease that was ended is in its line until the next look: so that is never far.
    void watch_over(const std::shared_ptr<kept_lease>& lease) {
      const auto most = lease->clock_->now() + std::chrono::seconds(10);
      watch_at(lease->clock_, std::min(lease->next_, most), looking_at(lease));
    }
    template <class F>
    void begin(F f) {
      ++threads;
      try {
        std::thread([self = shared_from_this(), f]() mutable {
          home = self.get();
          f();
          const std::lock_guard lock(self->guard);
          --self->threads;
          self->ended.notify_all();
        }).detach();
      } catch (...) {
        --threads;
        throw;
      }
    }

    void look(const std::shared_ptr<kept_lease>& lease) {
      switch (lease->due()) {
        case kept_lease::step::drop:
          return;
        case kept_lease::step::tell:
          tell(lease);
          return;
        case kept_lease::step::renew:
          hand_over([this, lease] { renew(lease); }, false);
          [[fallthrough]];
        case kept_lease::step::wait:
          break;
      }
      if (!stopping) watch_over(lease);
    }
    // Without the guard.
    void renew(const std::shared_ptr<kept_lease>& lease) {
      const bool gone = lease->renew_now();
      const std::lock_guard lock(guard);
      gone ? tell(lease) : look(lease);
    }
    // On a thread of its own: the holder's callbacks may block for as long as they like.
    void tell(const std::shared_ptr<kept_lease>& lease) {
      if (stopping) return;
      try {
        begin([told = std::shared_ptr(lease)]() mutable { std::exchange(told, nullptr)->lose(); });
      } catch (const std::system_error&) {
        hand_over([lease] { lease->lose(); }, true);
      }
    }

    void hand_over(std::function<void()> job, bool urgent) {
      if (stopping) return;
      urgent ? jobs.push_front(std::move(job)) : jobs.push_back(std::move(job));
      if (jobs.size() <= idle) {
        work.notify_one();
        return;
      }
      if (workers >= most_workers && !urgent) return;
      try {
        begin([this] { work_off(); });
        ++workers;
      } catch (const std::system_error&) {
        if (workers != 0) return;  // one of those will come
        const std::function<void()> now = std::move(jobs.front());
        jobs.pop_front();
        guard.unlock();
        now();
        guard.lock();
      }
    }

    // Without the guard.
    void work_off() {
      std::unique_lock lock(guard);
      while (!stopping) {
        if (jobs.empty()) {
          ++idle;
          const bool some = work.wait_for(lock, std::chrono::seconds(5),
                                          [this] { return stopping || !jobs.empty(); });
          --idle;
          if (!some) break;
          continue;
        }
        std::function<void()> job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job();
        job = nullptr;
        lock.lock();
      }
      --workers;
    }
    // Without the guard.
    void watch_times() {
      std::unique_lock lock(guard);
      while (!stopping) {
        auto pause = std::chrono::nanoseconds(std::chrono::hours(1));
        for (auto each = times.begin(); each != times.end();) {
          const auto& clock = *each->first;
          line& of = each->second;
          const auto now = clock.now();
          std::vector<action> due;
          while (!of.empty() && of.begin()->first <= now) {
            due.push_back(std::move(of.begin()->second));
            of.erase(of.begin());
          }
          for (action& f : due) {
            f(*this);  // may add to the line
            if (stopping) return;
          }
          if (of.empty()) {
            each = times.erase(each);
            continue;
          }
          pause = std::min(pause, clock.nap(of.begin()->first - now));
          ++each;
        }
        if (!stopping) watch.wait_for(lock, pause);
      }
    }
  };

  static constexpr std::size_t most_workers = 64;
  static inline thread_local const core* home = nullptr;

  const std::shared_ptr<core> core_;
};

}  // namespace interlock::store::detail
