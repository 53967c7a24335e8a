// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lane_waits.hpp - which lanes are held by whom that waits for which lane.
//
// A task that waits for a lane keeps its own lanes meanwhile. If what holds the wanted lane waits
// for one of these, whatever the number of steps, nobody gets on. Such waits alone are listed
// here, so a wait outside of tasks costs nothing.
//
// Why a circle is certain: a wait is listed before it begins and, of a work that has ended, not
// counted: `news` says so before the next work of that lane begins. What holds a key is the work at
// its head, as seen under the lock of its shard; in a circle none of them can end.

#include <atomic>
#include <coroutine>
#include <mutex>
#include <utility>
#include <vector>

#include "futex_mutex.hpp"
#include "lane_work.hpp"
#include "ring.hpp"

namespace interlock::detail {

// A lane that a coroutine keeps from its first line to its last, on whatever threads.
struct lane_holding {
  const void* lane = nullptr;
  const void* frame = nullptr;  // of the coroutine that awaits it on behalf of the lane
  lane_holding* next = nullptr;
  lane_holding* previous = nullptr;
};

struct lane_wait {
  bool holds(const void* lane) const noexcept {
    if (inside::holds(thread, lane)) return true;
    for (const void* const each : lanes) {
      if (each == lane) return true;
    }
    return false;
  }

  const void* wanted = nullptr;
  // What holds it now, where that is not the same for ever: nullptr if nothing, or if it is over.
  const void* (*holder)(const lane_wait&) noexcept = nullptr;
  const park_word* news = nullptr;  // of the work that is waited for, if there is no `holder`
  std::uint32_t over = work::done;  // what it says when that is over
  bool ends = false;                // perhaps without the lane: by a stop or a deadline
  const inside* thread = nullptr;   // what the thread that blocks is inside of
  std::vector<const void*> lanes;   // what the coroutine that waits holds
  lane_wait* next = nullptr;
  lane_wait* previous = nullptr;
};

class lane_waits {
public:
  static lane_waits& instance() noexcept {
    static constinit lane_waits one;
    return one;
  }

  // Effects: lists the wait, unless it would never end. Returns: true if it was listed.
  bool begin(lane_wait& wait) {
    const std::lock_guard lock(mutex_);
    if (closes_circle(wait)) return false;
    waits_.push_back(wait);
    return true;
  }
  void end(lane_wait& wait) noexcept {
    const std::lock_guard lock(mutex_);
    waits_.remove(wait);
  }

  void hold(lane_holding& by) noexcept {
    const std::lock_guard lock(mutex_);
    holdings_.push_back(by);
    // order: relaxed: whoever holds a lane, or was called by who does, sees that
    held_.store(holds() + 1, std::memory_order_relaxed);
  }
  void let_go(lane_holding& by) noexcept {
    const std::lock_guard lock(mutex_);
    // order: relaxed: as above
    if (holdings_.remove(by)) held_.store(holds() - 1, std::memory_order_relaxed);
  }
  // Returns: whether some coroutine holds a lane: of its own this one knows.
  bool any_held() const noexcept { return holds() != 0; }

  // Effects: adds the lanes that the coroutine with this frame holds.
  void add_held_by(const void* frame, std::vector<const void*>& lanes) {
    const std::lock_guard lock(mutex_);
    for (const lane_holding* h = holdings_.first(); h != nullptr; h = holdings_.after(*h)) {
      if (h->frame == frame) lanes.push_back(h->lane);
    }
  }

private:
  std::size_t holds() const noexcept {
    // order: relaxed: written under the mutex; elsewhere a hint, see hold()
    return held_.load(std::memory_order_relaxed);
  }

  // Complexity: the waits, times the lanes on the way.
  bool closes_circle(const lane_wait& wait) const {
    std::vector<const void*> way;
    go_on(way, wait);
    for (std::size_t at = 0; at < way.size(); ++at) {
      if (wait.holds(way[at])) return true;
      for (const lane_wait* w = waits_.first(); w != nullptr; w = waits_.after(*w)) {
        if (!w->ends && w->holds(way[at])) go_on(way, *w);
      }
    }
    return false;
  }
  static void go_on(std::vector<const void*>& way, const lane_wait& wait) {
    const void* const to = target(wait);
    if (to == nullptr) return;
    for (const void* const each : way) {
      if (each == to) return;
    }
    way.push_back(to);
  }
  // Returns: what has to be let go before the wait ends, or nullptr.
  static const void* target(const lane_wait& wait) noexcept {
    if (wait.holder != nullptr) return wait.holder(wait);
    // order: relaxed: of a work that ended before a task that holds its lane began, that task sees it
    return wait.news->load(std::memory_order_relaxed) == wait.over ? nullptr : wait.wanted;
  }

  futex_mutex mutex_;
  ring_of<lane_wait> waits_;
  ring_of<lane_holding> holdings_;
  std::atomic<std::size_t> held_{0};
};

// The wait of a thread, if it is inside of tasks, for as long as this lives.
class blocked_inside {
public:
  blocked_inside() = default;
  // Throws: if it would never end.
  blocked_inside(const void* lane, const park_word& news, bool ends) {
    if (!begin(lane, news, work::done, ends)) throw_would_deadlock();
  }
  blocked_inside(const blocked_inside&) = delete;
  blocked_inside& operator=(const blocked_inside&) = delete;
  ~blocked_inside() {
    if (wait_.wanted != nullptr) lane_waits::instance().end(wait_);
  }

  // Effects: lists it. Returns: false, and it is not listed, if it would never end.
  bool begin(const void* lane, const park_word& news, std::uint32_t over, bool ends) {
    if (inside::innermost == nullptr) return true;
    wait_.news = &news;
    wait_.over = over;
    wait_.ends = ends;
    wait_.thread = inside::innermost;
    wait_.wanted = lane;
    const bool listed = lane_waits::instance().begin(wait_);
    if (!listed) wait_.wanted = nullptr;
    return listed;
  }

private:
  lane_wait wait_;
};

// Effects: adds the lanes that a coroutine holds, or somebody who waits for it.
template <class Promise>
void add_held_by(std::coroutine_handle<Promise> self, std::vector<const void*>& lanes) {
  lane_waits& all = lane_waits::instance();
  if (!all.any_held()) return;
  all.add_held_by(self.address(), lanes);
  // A task knows who waits for it to end.
  if constexpr (requires { self.promise().for_each_caller([](const auto&) { return true; }); }) {
    self.promise().for_each_caller([&](const auto& who) {
      if (who.frame != nullptr) all.add_held_by(who.frame, lanes);
      return true;
    });
  }
}

// The wait of a coroutine for room in a lane, if it holds any. It is no step of others' circles:
// there might be a place when it is listed.
class held_wait {
public:
  held_wait() = default;
  held_wait(const held_wait&) = delete;
  held_wait& operator=(const held_wait&) = delete;
  ~held_wait() { end(); }

  template <class Promise>
  void comes_from(std::coroutine_handle<Promise> self) {
    add_held_by(self, wait_.lanes);
  }
  // Returns: false if it would never end.
  bool begin(const void* lane) {
    if (wait_.lanes.empty()) return true;
    wait_.wanted = lane;
    wait_.holder = [](const lane_wait& self) noexcept { return self.wanted; };
    wait_.ends = true;
    return listed_ = lane_waits::instance().begin(wait_);
  }
  void end() noexcept {
    if (std::exchange(listed_, false)) lane_waits::instance().end(wait_);
  }

private:
  lane_wait wait_;
  bool listed_ = false;
};

}  // namespace interlock::detail
