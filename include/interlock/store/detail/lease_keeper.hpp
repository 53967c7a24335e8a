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
//
// A child of fork() has none of these threads. It gets a keeper of its own; that of its parent is
// dropped there as it is.

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

#include "../boot_clock.hpp"
#include "kept_lease.hpp"
#include "local_clock.hpp"
#include "process_generation.hpp"

namespace interlock::store::detail {

class lease_keeper {
public:
  // Returns: that of the process; its threads end with the last who has it.
  [[nodiscard]] static std::shared_ptr<lease_keeper> of_process() {
    const unsigned now = process_generation();
    const std::lock_guard lock(process_guard);
    auto keeper = known.lock();
    if (keeper == nullptr || keeper->born_ != now) {
      known = keeper = std::make_shared<lease_keeper>();
    }
    return keeper;
  }

  lease_keeper() : core_(std::make_shared<core>()) {}
  lease_keeper(const lease_keeper&) = delete;
  lease_keeper& operator=(const lease_keeper&) = delete;
  // Effects: waits until its threads have ended, but for the one that it may be on. In a child of
  //          fork(), where they never were, none: they may have held the guard, and keep the core.
  ~lease_keeper() {
    if (born_ != process_generation()) return;
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
  static inline std::weak_ptr<lease_keeper> known;  // under process_guard
  static inline thread_local const core* home = nullptr;

  const unsigned born_ = process_generation();
  const std::shared_ptr<core> core_;
};

}  // namespace interlock::store::detail
