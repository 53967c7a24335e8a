// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lock_graph.hpp - who owns what and waits for what, and in which order.
//
// Two graphs under one lock. The waits: a wait leads to the lock that it is for, and an owned lock
// to the waits of its owner. A circle in it never ends by itself. The order: see lock_order.hpp.
//
// Why a circle of waits is certain: a lock is recorded as owned after it was taken and as free
// before it is let go, and a wait from before it begins until after it ended. So whatever is seen
// to be owned is, and an owner that is seen to wait cannot let go.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "../lock_report.hpp"
#include "futex_mutex.hpp"
#include "lock_nodes.hpp"
#include "lock_order.hpp"

namespace interlock::detail {

class lock_graph {
public:
  static lock_graph& instance() {
    static lock_graph one;
    return one;
  }

  void enroll(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    lock.number = ++last_number_;
  }

  // Effects: the wait begins. Reports what it closes: a circle of waits, or one of the order.
  // Throws: what the handler throws; end the wait then.
  void ask(lock_wait& wait, tracked_lock& wanted) {
    std::optional<lock_report> found;
    {
      const std::lock_guard inside(mutex_);
      if (wanted.closed) return;  // nobody waits for it any more
      wait.turn = ++last_turn_;
      wait.wanted = &wanted;
      wanted.waits.emplace(wait.turn, &wait);
      for (const lock_party& one : wait.chain) parties_[one].waits.emplace(wait.turn, &wait);
      found = deadlock(wait);
      std::optional<lock_report> inversion = note_order(held_by(wait), wait, wanted);
      if (!found) found = std::move(inversion);
    }
    if (found) tell(*found);
  }

  // Effects: the wait, if it is one, is over.
  void end(lock_wait& wait) noexcept {
    const std::lock_guard inside(mutex_);
    leave(wait);
  }

  // Effects: the wait ended with the lock. `asked`: the order of what was not waited for counts.
  void take(lock_wait& wait, tracked_lock& lock) {
    std::optional<lock_report> found;
    {
      const std::lock_guard inside(mutex_);
      if (wait.turn == 0) found = note_order(held_by(wait), wait, lock);
      leave(wait);
      own(lock, wait.chain.front(), wait.at, nullptr);
    }
    if (found) tell(*found);
  }

  // Effects: the lock was free and is now the thread's, or a coroutine's that runs on it.
  void take_at_once(tracked_lock& lock, lock_party thread, std::source_location at) {
    const std::lock_guard inside(mutex_);
    own(lock, thread, at, thread.what == lock_party::kind::thread ? "by try_lock" : nullptr);
  }

  // Effects: call it before the lock is let go.
  void let_go(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    disown(lock);
    lock.now = tracked_lock::state::free;
  }

  // Effects: the guard moved, so nobody in particular owns the lock; unless a named owner does.
  void move(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    if (lock.owner.what != lock_party::kind::named) disown(lock);
  }

  // Effects: from now on the lock is this party's. Reports the circle that this closes.
  void give(tracked_lock& lock, lock_party to) {
    std::optional<lock_report> found;
    {
      const std::lock_guard inside(mutex_);
      own(lock, to, lock.taken, nullptr);
      const auto owner = parties_.find(to);
      if (owner == parties_.end()) return;
      for (const auto& [turn, wait] : owner->second.waits) {
        if (!found) found = deadlock(*wait);
      }
    }
    if (found) tell(*found);
  }

  // Effects: a guard gave up the lock without letting it go.
  void loosen(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    if (lock.owner.what != lock_party::kind::named) disown(lock);
    lock.now = tracked_lock::state::loose;
  }

  // Effects: the same for who keeps it to lock others: it is still its owner's; and once all are
  //          locked, no longer for certain.
  void keep(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    lock.now = tracked_lock::state::loose;
  }
  void kept(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    lock.how = "by lock_all";
  }

  // Effects: reports if the lock is not loose. Returns: true if it was and is now a guard's.
  bool adopt(tracked_lock& lock, lock_party thread, std::source_location at) {
    lock_report wrong{lock_report::kind::stranger, true, {}};
    {
      const std::lock_guard inside(mutex_);
      if (lock.now == tracked_lock::state::loose) {
        lock.now = tracked_lock::state::owned;
        return true;
      }
      labels names;
      wrong.parties.push_back(owner_of(lock, names));
      wrong.parties.push_back({names.of(thread) + ", which adopts it", {}, {{lock.name, at, {}}}});
    }
    tell(wrong);
    return false;
  }

  // Effects: nobody waits for the lock from now on. Call it before they are told.
  void close(tracked_lock& lock) noexcept {
    const std::lock_guard inside(mutex_);
    lock.closed = true;
    forget_waits(lock);
  }

  // Effects: reports a lock that is in use, and forgets it.
  void destroy(tracked_lock& lock, bool in_use) {
    lock_report wrong{lock_report::kind::destruction, true, {}};
    {
      const std::lock_guard inside(mutex_);
      if (in_use) {
        labels names;
        wrong.parties.push_back(owner_of(lock, names));
        for (const auto& [turn, wait] : lock.waits) wrong.parties.push_back(asks(*wait, names));
      }
      forget_waits(lock);
      disown(lock);
      for (const auto& [number, step] : lock.later) step.to->sooner.erase(lock.number);
      for (const auto& [number, before] : lock.sooner) before->later.erase(lock.number);
    }
    if (in_use) tell(wrong);
  }

private:
  struct presence {
    held_locks holds;
    std::map<std::uint64_t, lock_wait*> waits;
  };

  // ---- who owns, who waits

  void own(tracked_lock& lock, lock_party owner, std::source_location at, const char* how) {
    disown(lock);
    lock.now = tracked_lock::state::owned;
    lock.owner = lock.taker = owner;
    lock.taken = at;
    lock.how = how;
    lock.turn = ++last_turn_;
    parties_[owner].holds.emplace(lock.turn, &lock);
  }

  void disown(tracked_lock& lock) noexcept {
    const auto owner = parties_.find(lock.owner);
    if (owner != parties_.end()) {
      owner->second.holds.erase(lock.turn);
      drop_if_idle(owner);
    }
    lock.owner = {};
  }

  void leave(lock_wait& wait) noexcept {
    if (wait.turn == 0) return;
    if (wait.wanted != nullptr) wait.wanted->waits.erase(wait.turn);
    for (const lock_party& one : wait.chain) {
      const auto found = parties_.find(one);
      if (found == parties_.end()) continue;  // twice in the chain
      found->second.waits.erase(wait.turn);
      drop_if_idle(found);
    }
    wait.wanted = nullptr;
    wait.turn = 0;
  }

  void forget_waits(tracked_lock& lock) noexcept {
    while (!lock.waits.empty()) leave(*lock.waits.begin()->second);
  }

  using parties = std::map<lock_party, presence>;
  void drop_if_idle(parties::iterator party) noexcept {
    if (party->second.holds.empty() && party->second.waits.empty()) parties_.erase(party);
  }

  // Returns: whether the lock is let go only after the wait. One that was taken by try_lock may be
  //          that of another coroutine of the thread, and that of a lock_all may have moved.
  static bool waits_as_owner(const lock_wait& wait, const tracked_lock& lock) {
    const auto end = lock.how != nullptr ? wait.chain.begin() + 1 : wait.chain.end();
    return std::find(wait.chain.begin(), end, lock.owner) != end;
  }

  // Returns: what those of the chain hold, oldest first.
  held_locks held_by(const lock_wait& wait) const {
    held_locks all;
    for (const lock_party& one : wait.chain) {
      const auto found = parties_.find(one);
      if (found == parties_.end()) continue;
      for (const auto& each : found->second.holds) {
        if (waits_as_owner(wait, *each.second)) all.insert(each);
      }
    }
    return all;
  }

  // ---- circles of waits

  // Returns: the report of a shortest circle that leads from the wait back to its chain.
  std::optional<lock_report> deadlock(const lock_wait& start) const {
    struct step {
      const lock_wait* wait;
      std::size_t before;
    };
    std::vector<step> reached{{&start, 0}};
    std::set<const tracked_lock*> seen;
    for (std::size_t i = 0; i < reached.size(); ++i) {
      const tracked_lock& lock = *reached[i].wait->wanted;
      if (waits_as_owner(start, lock)) {
        std::vector<const lock_wait*> circle;
        for (std::size_t at = i; at != 0; at = reached[at].before) {
          circle.push_back(reached[at].wait);
        }
        circle.push_back(&start);
        return circle_report({circle.rbegin(), circle.rend()});
      }
      if (!seen.insert(&lock).second) continue;
      const auto owner = parties_.find(lock.owner);
      if (owner == parties_.end()) continue;
      for (const auto& [turn, wait] : owner->second.waits) {
        if (waits_as_owner(*wait, lock)) reached.push_back({wait, i});
      }
    }
    return std::nullopt;
  }

  lock_report circle_report(const std::vector<const lock_wait*>& circle) const {
    const bool one = circle.size() == 1;
    lock_report report{one ? lock_report::kind::relock : lock_report::kind::cycle, true, {}};
    labels names;
    for (const lock_wait* wait : circle) {
      report.parties.push_back(asks(*wait, names));
      if (wait->end != wait_end::never || wait->wanted->how != nullptr) report.certain = false;
    }
    return report;
  }

  // Returns: the asker, with what it and its chain hold and what it asks for.
  lock_report::party asks(const lock_wait& wait, labels& names) const {
    lock_report::party party{names.of(wait.chain.front()), {}, {}};
    for (const auto& [turn, lock] : held_by(wait)) {
      const bool own = lock->owner == wait.chain.front();
      party.holds.push_back(
          held_entry(*lock, own ? "" : names.of(lock->owner) + ", which waits for it to end"));
    }
    static constexpr const char* ends[] = {"", "may be refused", "may end by a stop",
                                           "ends by its deadline"};
    party.waits.push_back({wait.wanted->name, wait.at, ends[static_cast<std::size_t>(wait.end)]});
    return party;
  }

  static lock_report::party owner_of(const tracked_lock& lock, labels& names) {
    if (lock.now == tracked_lock::state::free) return {"nobody owns it", {}, {}};
    const bool known = lock.owner.what != lock_party::kind::nobody;
    return {names.of(lock.taker) + (known ? "" : ", whose guard was moved or released"),
            {held_entry(lock)},
            {}};
  }

  futex_mutex mutex_;  // protects all of this, and what of locks and waits is the graph's
  std::uint64_t last_number_ = 0;
  std::uint64_t last_turn_ = 0;
  parties parties_;
};

}  // namespace interlock::detail
