// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_ends.hpp - work of keys that ends before its turn, and the ends of keys.
//
// What is taken out of a line is destroyed without a lock. Who waits for all that was accepted
// waits for that too: it is counted meanwhile.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

#include "../wait_status.hpp"
#include "key_service.hpp"

namespace interlock::detail {

template <class Key, class Hash, class Equal>
class key_ends : public key_service<Key, Hash, Equal> {
  using base = key_service<Key, Hash, Equal>;

public:
  using typename base::chain;
  using typename base::place;
  using typename base::shard;
  using typename base::work;
  using base::each_shard;
  using base::hash_of;
  using base::home_of;

  // Effects: takes the work of a thread out of its line. Returns: false if it is too late for that.
  bool withdraw(work& w, bool as_cancelled) noexcept {
    shard& home = home_of(w.hash);
    const std::lock_guard lock(home.lock);
    if (w.given || w.has_begun()) return false;
    take_out(home, w, as_cancelled);
    return true;
  }

  // Effects: ends the wait of awaited work that has not begun, or keeps it from being admitted;
  //          then `status` becomes `why`. What an heir has been told to begin has, for that.
  // Returns: true if the caller has to wake it.
  bool end(work& w, wait_status& status, wait_status why) noexcept {
    shard& home = home_of(w.hash);
    const std::lock_guard lock(home.lock);
    if (w.ended || w.where == place::running) return false;
    status = why;
    if (w.where == place::nowhere) {
      w.ended = true;
      return false;
    }
    take_out(home, w, true);
    return true;
  }
  // Effects: the same for a posted task, whose place goes to who waits for it. If true the caller
  //          destroys it and calls has_withdrawn().
  bool withdraw_posted(work& w, chain& placed) noexcept {
    shard& home = home_of(w.hash);
    const std::lock_guard lock(home.lock);
    if (w.ended || w.where == place::running) return false;
    const bool was_in = w.where != place::nowhere;
    w.ended = true;
    if (!was_in) return false;
    withdrawals_.begin();
    take_out(home, w, true);
    key_work* const head = home.keys.find(w.hash, w.key(), equal_);
    if (head != nullptr) this->give_places(home, *head, placed);
    return true;
  }
  // Effects: tells those who have got a place. The last touch of the queue.
  void has_withdrawn(const chain& placed) noexcept {
    trampoline::together([&] {
      tell_all(placed);
      withdrawals_.end();
    });
  }
  // Effects: behind the wait for what was accepted. Returns: false if the deadline came first.
  bool expect_withdrawn(const std::chrono::steady_clock::time_point* deadline = nullptr) noexcept {
    return withdrawals_.wait(deadline);
  }

  // Effects: ends what has not begun, of one key or of all.
  void cancel(const Key& key) noexcept {
    const std::uint32_t hash = hash_of(key);
    chain ended, placed;
    withdrawals_.begin();
    {
      shard& home = home_of(hash);
      const std::lock_guard lock(home.lock);
      key_work* const head = home.keys.find(hash, key, equal_);
      if (head != nullptr) this->cut(home, *head, ended, placed);
    }
    end_all(ended, placed);
  }
  void cancel() noexcept {
    chain ended, placed;
    withdrawals_.begin();
    each_shard([&](shard& home) {
      home.keys.for_each([&](key_work& w) { this->cut(home, w, ended, placed); });
    });
    end_all(ended, placed);
  }

  // Effects: refuses what comes, and who waits for a place: of all keys or of one.
  void close() noexcept {
    chain refused;
    each_shard([&](shard& home) {
      home.closed = true;
      if (!this->limited_) return;
      home.keys.for_each([&](key_work& head) { this->refuse_seekers(home, head, refused); });
    });
    trampoline::together([&] { tell_all(refused); });
  }
  void close(const Key& key) {
    chain refused;
    const std::uint32_t hash = hash_of(key);
    this->mark_closed(hash, key, [&](shard& home) {
      key_work* const head = home.keys.find(hash, key, equal_);
      if (head != nullptr) this->refuse_seekers(home, *head, refused);
    });
    trampoline::together([&] { tell_all(refused); });
  }

protected:
  using base::base;
  using base::equal_;
  using base::withdrawals_;
  ~key_ends() = default;

  static void cancel_now(key_work& w) noexcept {
    w.perform(w, nullptr, key_work::step::cancel);
    w.perform(w, nullptr, key_work::step::finish);
  }
  static void tell_all(const chain& those) noexcept {
    for (key_work* w = those.first; w != nullptr;) {
      key_work& each = *std::exchange(w, w->next);
      each.perform(each, nullptr, key_work::step::finish);
    }
  }
  void end_all(const chain& ended, const chain& placed) noexcept {
    trampoline::together([&] {
      for (key_work* w = ended.first; w != nullptr;) cancel_now(*std::exchange(w, w->next));
      tell_all(placed);
      withdrawals_.end();
    });
  }

private:
  // Effects: takes it out of its line, and says in the numbers what became of it.
  void take_out(shard& home, work& w, bool as_cancelled) {
    const bool counted = w.counts() && !w.seeks;
    this->remove(home, w);
    if (counted && as_cancelled) {
      this->seldom_.count_cancelled();
    } else {
      home.accepted -= counted;
    }
  }
};

}  // namespace interlock::detail
