// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_shard.hpp - a part of the records, its lock, what is done under it.
//
// Of the records that are not running the oldest leaves first, if there is no more room. What
// leaves is freed behind the lock, by whoever holds it when there is a batch (unlinked_nodes.hpp).

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "../idempotency_outcome.hpp"
#include "../wait_status.hpp"
#include "eviction_line.hpp"
#include "futex_mutex.hpp"
#include "idempotency_node.hpp"
#include "lookup_chains.hpp"
#include "readers.hpp"
#include "ring.hpp"
#include "run_waits.hpp"
#include "unlinked_nodes.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Outcome and Statistics are the public types of idempotency_cache.
template <class Node, class Outcome, class Statistics>
struct idempotency_shard {
  using record = Node;
  using record_ptr = node_ptr<Node>;
  using joiner = typename Node::joiner;
  using nanoseconds = std::chrono::nanoseconds;
  using news = idempotency_news;
  using event = idempotency_event<typename Node::key_type>;
  using listener = std::function<void(const event&)>;

  static constexpr int most_spared = 16;  // by one eviction, as they were read
  static constexpr std::uint64_t most_weight = Node::most_weight;
  static constexpr nanoseconds no_owner = nanoseconds::min();  // as the end of a lease

  using chains_type = lookup_chains<Node, typename Node::hash_of>;

  alignas(64) chains_type chains;
  mutable futex_mutex mutex;  // protects all below, and changes of the chains
  bool weighs = false;                    // answers; else they have no room for a weight
  std::size_t room = 0;                   // its part of the capacity
  std::uint64_t strength = 0;             // and of the weight
  std::size_t batch = 1;                  // of what is freed at once
  std::uint64_t weight = 0;               // of the settled records
  std::size_t settled = 0;                // of those in the chains
  eviction_line<record> line;             // the settled records
  unlinked_nodes<record> gone;
  Statistics happened{};
  nanoseconds answer_ttl{}, failure_ttl{};
  const listener* tells = nullptr;    // null: nobody listens
  std::array<record*, 2> untold{};    // evicted, expired: linked by `newer`; then gone

  // Effects: calls the listener, without the lock. It can change nothing, by a throw neither.
  static void tell(const listener* to, const event& what) noexcept {
    if (to == nullptr) [[likely]] return;
    try {
      (*to)(what);
    } catch (...) {  // nothing that is done can be undone
    }
  }

  static bool is_unlinked(const record& each) noexcept {
    return each.word().has(record_word::unlinked);
  }
  bool is_expired(const record& each, record_word word, nanoseconds now) const noexcept {
    return now - each.at >= (word.phase() == record_phase::answered ? answer_ttl : failure_ttl);
  }

  void tell_end(const record& run, record_phase phase, bool owned, bool heavy) const noexcept {
    if (tells == nullptr) [[likely]] return;
    const auto hears = [&](news what) { tell(tells, {what, &run.key, run.word().turn()}); };
    if (heavy) hears(news::too_heavy);
    const bool answered = phase == record_phase::answered;
    hears(!owned ? news::lost : answered ? news::executed : news::failed);
  }

  // The lock of a shard. Behind it, what nobody reads any more is freed.
  class section {
  public:
    explicit section(idempotency_shard& home) noexcept : home_(home) { home_.mutex.lock(); }
    section(const section&) = delete;
    section& operator=(const section&) = delete;
    ~section() {
      if (locked_) unlock();
      if (grows_) grow();
      tell_all();
      if (out_.empty()) return;
      out_.free_unread();
      if (out_.empty()) return;
      const std::lock_guard lock(home_.mutex);
      home_.gone.put_back(std::move(out_));
    }
    void unlock() noexcept {
      if (home_.gone.due(home_.batch)) out_.put_back(std::move(home_.gone));
      locked_ = false;
      if (home_.tells != nullptr) [[unlikely]] untold_ = std::exchange(home_.untold, {});
      home_.mutex.unlock();
    }
    void grow_behind() noexcept { grows_ = true; }
    // Effects: somebody is told behind the lock, of this one after all that have left.
    void tell(news what, record& of) {
      if (home_.tells == nullptr) [[likely]] return;
      what_ = what;
      of_ = record_ptr::share(of);
    }
    // Effects: tells now what is to be told. The lock is released.
    void tell_all() noexcept {
      if (home_.tells == nullptr) [[likely]] return;
      tell_left(untold_[0], news::evicted);
      tell_left(untold_[1], news::expired);
      const record_ptr of = std::move(of_);
      if (of) shard_type::tell(home_.tells, {what_, &of->key, of->word().turn()});
    }

  private:
    using shard_type = idempotency_shard;

    void tell_left(record*& first, news what) noexcept {
      record* const all = std::exchange(first, nullptr);
      if (all == nullptr) return;
      for (const record* each = all; each != nullptr; each = each->newer) {
        shard_type::tell(home_.tells, {what, &each->key, each->word().turn()});
      }
      const std::lock_guard lock(home_.mutex);
      for (record* each = all; each != nullptr;) {
        record& told = *each;
        each = each->newer;
        home_.gone.add(told);
      }
    }
    // The new buckets are made without the lock. Without memory the chains get longer.
    void grow() noexcept {
      unsigned log2 = 0;
      {
        const std::lock_guard lock(home_.mutex);
        log2 = home_.chains.next_log2();
      }
      bucket_array* const more = chains_type::make_array(log2);
      if (more == nullptr) return;
      {
        const std::lock_guard lock(home_.mutex);
        if (home_.chains.wants_to_grow() && home_.chains.next_log2() == log2) {
          return home_.chains.grow(*more);
        }
      }
      bucket_array::free(more);
    }

    idempotency_shard& home_;
    unlinked_nodes<Node> out_;
    std::array<record*, 2> untold_{};
    record_ptr of_;
    news what_{};
    bool locked_ = true;
    bool grows_ = false;
  };

  void insert(record_ptr fresh, nanoseconds lease, record_ptr& seat,
              run_waits::inside& inside) noexcept {
    fresh->hold_first();
    // What is freed behind this lock may call the cache, for this key even.
    inside.enter(fresh.get());
    fresh->at = lease;
    bucket_array* const moved = chains.insert(*fresh);
    if (moved != nullptr) gone.add(*moved);
    seat = std::move(fresh);
  }

  // Effects: the key is free, or has another record.
  void unlink(record& out) noexcept {
    chains.erase(out);
    out.set(record_word::unlinked);
  }
  void unlink_settled(record& out) noexcept {
    unlink(out);
    if (weighs) weight -= out.weight();
    --settled;
  }
  void take_from_line(record& out) noexcept {
    unlink_settled(out);
    line.pass([](const record& each) { return is_unlinked(each); },
                   [this](record& dead) { gone.add(dead); });
  }

  void expire(record& old) noexcept {
    take_from_line(old);
    ++happened.expired;
  }

  // Returns: whether the key is free now, and had something that had not expired.
  bool drop(section& in, record& out, nanoseconds now, bool force) noexcept {
    const record_word word = out.word();
    if (word.running() && !force) return false;
    const bool over = !word.running() && is_expired(out, word, now);
    in.tell(over ? news::expired : news::dropped, out);
    if (over) {
      expire(out);
      return false;
    }
    ++happened.dropped;
    if (!word.running()) {
      take_from_line(out);
      return true;
    }
    unlink(out);
    if (out.at == no_owner) gone.add(out);
    return true;
  }

  // Effects: fresh takes the place of a run that has lost its lease, and its joiners.
  void hand_over(record& late, record& fresh) noexcept {
    fresh.add_turns(late.word().turn());
    // Who resolves a doubt and gives up leaves it as it was.
    if (late.word().has(record_word::effect_begun)) fresh.set(record_word::effect_begun);
    ring_of<joiner> all(late.joiners);
    for (joiner* each = all.first(); each != nullptr; each = all.after(*each)) {
      if (each->thread != nullptr) run_waits::goes_along(*each->thread, &fresh);
      each->record = record_ptr::share(fresh);
    }
    fresh.joiners = std::exchange(late.joiners, nullptr);
    unlink(late);
    if (late.at == no_owner) gone.add(late);
    ++happened.takeovers;
  }

  // The other way to a record that somebody else made: under the lock. Counts the call, unless it
  // goes on: `joined`, or cancelled.
  template <class Request>
  Outcome admit(record& there, const Request& asked, joiner* self, record_ptr& seat) noexcept {
    const auto ends = [](std::uint64_t& count, Outcome how) { return ++count, how; };
    if (there.payload != asked.payload) {
      return ends(happened.mismatches, Outcome::payload_mismatch);
    }
    const record_word word = there.word();
    if (!word.running()) {
      seat = record_ptr::share(there);
      there.set(record_word::was_read);
      return ends(happened.replayed, Outcome::replayed);
    }
    if (word.has(record_word::effect_begun) && asked.now >= there.at) {
      return ends(happened.in_doubt, Outcome::in_doubt);
    }
    if (self == nullptr) {
      if (!asked.asks_again) ++happened.in_flight;
      return Outcome::in_flight;
    }
    // To wait for a run from inside its f is to wait for oneself.
    if (asked.blocks && there.runs_here()) return ends(happened.reentered, Outcome::reentered);
    if (self->who->ended) return Outcome::cancelled;
    if (!queue(there, *self)) return ends(happened.circular, Outcome::circular);
    return ends(happened.joined, Outcome::joined);
  }

  // Returns: false if its thread would wait for itself.
  static bool queue(record& run, joiner& self) noexcept {
    if (self.thread != nullptr && !run_waits::begin(*self.thread, &run)) return false;
    self.record = record_ptr::share(run);
    self.who->suspended = true;
    ring_of<joiner> all(run.joiners);
    all.push_back(self);
    run.joiners = all.first();
    return true;
  }
  // Effects: takes a joiner off whose run has a lease that is over.
  // Returns: how long the lease goes on; 0 if it did; max if there is no end, or it was woken.
  static nanoseconds look_at_lease(joiner& self, nanoseconds now) noexcept {
    if (self.previous == nullptr || self.record->at == nanoseconds::max()) {
      return nanoseconds::max();
    }
    if (now < self.record->at) return self.record->at - now;
    remove(self);
    return {};
  }
  static bool end(joiner& self, wait_status why) noexcept {
    const bool queued = remove(self);
    if (queued || (!self.who->suspended && !self.who->ended)) {
      self.who->ended = true;
      self.who->status = why;
      self.told = Outcome::cancelled;
    }
    return queued;
  }
  static bool remove(joiner& self) noexcept {
    if (self.previous == nullptr) return false;
    ring_of<joiner> all(self.record->joiners);
    all.remove(self);
    self.record->joiners = all.first();
    return true;
  }
  // Effects: counts each. Returns: the joiners as a list, first to last.
  static joiner* take_joiners(record& run, Outcome how, std::uint64_t& count) noexcept {
    ring_of<joiner> all(std::exchange(run.joiners, nullptr));
    joiner* first = nullptr;
    joiner** last = &first;
    while (!all.empty()) {
      joiner& each = all.pop_front();
      each.told = how;
      ++count;
      *last = &each;
      last = &each.next;
    }
    *last = nullptr;
    return first;
  }
  // Effects: of those who are woken together it is not woken. For one that is destroyed, on the
  // thread that wakes them, by one of them. Returns: false if it is not among them.
  static bool leave_woken(joiner& self) noexcept {
    if (self.before == nullptr) return false;
    *self.before = self.next;
    if (self.next != nullptr) self.next->before = self.before;
    self.before = nullptr;
    return true;
  }
  // Coroutines go on when all are woken: what one of them does takes no wake-up from another. One
  // that goes on inside its wake-up may destroy others that are still to come.
  static void wake(joiner* list) noexcept {
    if (list == nullptr) return;
    trampoline::together([list]() mutable noexcept {
      for (joiner** at = &list; *at != nullptr; at = &(*at)->next) (*at)->before = at;
      while (list != nullptr) {
        joiner& first = *list;
        leave_woken(first);
        first.who->wake();
      }
    });
  }

  bool has_room() const noexcept {
    return chains.size() < room || settled != 0;
  }
  // Effects: asks for what make_room() will touch, if it evicts.
  void expect_eviction() const noexcept {
    if (chains.size() >= room && line.oldest() != nullptr) chains.expect(*line.oldest());
  }
  // Effects: takes out the oldest settled record if it has expired, and if the shard is full, one.
  void make_room(nanoseconds now) noexcept {
    record* const oldest = line.oldest();
    if (settled != 0 && !is_unlinked(*oldest) && is_expired(*oldest, oldest->word(), now)) {
      evict_one(now);
    }
    if (chains.size() >= room) evict_one(now);
  }
  // Effects: takes out the oldest; but one that was read since the last look counts as new once.
  // Preconditions: there is a settled one.
  void evict_one(nanoseconds now) noexcept {
    for (int spared = 0;;) {
      record& oldest = line.pop();
      const record_word word = oldest.word();
      if (word.has(record_word::unlinked)) {
        gone.add(oldest);
        continue;
      }
      const bool expired = is_expired(oldest, word, now);
      if (!expired && word.has(record_word::was_read) && spared < most_spared) {
        ++spared;
        oldest.clear(record_word::was_read);
        line.push(oldest);
        continue;
      }
      ++(expired ? happened.expired : happened.evicted);
      unlink_settled(oldest);
      if (tells != nullptr) oldest.newer = std::exchange(untold[expired ? 1 : 0], &oldest);
      if (tells == nullptr) [[likely]] gone.add(oldest);
      if (line.oldest() != nullptr) __builtin_prefetch(line.oldest());
      return;
    }
  }
};

}  // namespace interlock::detail
