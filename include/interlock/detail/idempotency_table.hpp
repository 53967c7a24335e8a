// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_table.hpp - one record per key: who runs, who waits, what was
// answered; in shards, each with a lock for those who change it and none for those who read.
//
//   absent   -- enter ---------------------> running   the caller owns the record
//   running  -- settle, keep --------------> settled   answered or failed; in the shard's line
//   running  -- settle, do not keep -------> absent
//   running  -- abandon, joiners wait -----> running   a turn more, owned by the first joiner
//   running  -- abandon, nobody waits -----> absent
//   running  -- its lease is over ---------> in doubt  if the owner said that its effect has begun;
//                                            else the next caller has a record of its own, with a
//                                            turn more, and the joiners go along
//   in doubt -- settle by the late owner --> as running; it was its key still
//   in doubt -- enter, to resolve ---------> running   as above; in doubt again if that owner
//                                            gives up, or is late
//   settled  -- expiry, eviction, drop ----> absent
//   running  -- drop by force -------------> absent    its owner still answers those who joined
//
// Why it is safe:
//   - A running record is written by its owner alone and settles once. An owner comes back to its
//     record, never to its key: a late one finds it unlinked and touches nothing else. So record
//     and turn are the fencing token; the owner keeps it alive, so its address is not reused.
//   - Only look_at() and the shard's admit() let a caller at a record, and they compare the
//     fingerprint first.
//   - Eviction sees the line alone, where no running record is.
//   - Unlinking comes before waking. Waking and freeing come after the lock is released: of the
//     user's code only Equal runs under it. A coroutine that goes on may end the ticket that woke
//     it, so settle() touches nothing of its caller's after the wake-up, nor does the caller.
//   - A joiner that wakes up to a running record owns it now; all others wake up to a settled one.
//     Neither is anyone else's to change, so they read it without the lock.
//   - Readers find settled records without the lock. What was unlinked is let go when no reader can
//     be on it (unlinked_nodes.hpp), so a reader may take a reference.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "../idempotency_outcome.hpp"
#include "../wait_status.hpp"
#include "futex_mutex.hpp"
#include "idempotency_node.hpp"
#include "idempotency_shard.hpp"
#include "idempotency_shards.hpp"
#include "reader_counts.hpp"
#include "readers.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// Outcome and Statistics are the public types of idempotency_cache: this file speaks their words.
template <class Key, class Response, class Hash, class Equal, class Outcome, class Statistics>
class idempotency_table {
public:
  using record = idempotency_node<Key, Response, Outcome, Hash>;
  using record_ptr = node_ptr<record>;
  using joiner = typename record::joiner;
  using nanoseconds = std::chrono::nanoseconds;
  using news = idempotency_news;
  using event = idempotency_event<Key>;
  using listener = std::function<void(const event&)>;

  // What a caller asks for.
  struct request {
    std::uint32_t hash;
    std::uint64_t payload;
    nanoseconds now;
    bool blocks = false;    // the thread, if it has to wait
    bool resolves = false;  // takes over what is in doubt
    bool asks_again = false;  // if the key is in flight: it is no end of the call then
  };

  // The hash and the listener outlive it.
  idempotency_table(const idempotency_limits& how, const Hash& hash, const listener& tells)
      : shards_(how, {&hash}, tells),
        hash_of_{&hash},
        tells_(tells ? &tells : nullptr),
        weighs_(how.weight != 0),
        key_size_(how.key_size),
        answer_ttl_(how.answer_ttl),
        failure_ttl_(how.failure_ttl),
        lease_(how.lease) {}
  idempotency_table(const idempotency_table&) = delete;
  idempotency_table& operator=(const idempotency_table&) = delete;
  ~idempotency_table() { shards_.clear(); }

  // Effects: without a lock, finds what is settled and calls seen(record, its phase, self), which
  //          may keep the record: by a reference, or by a pin if self is not null.
  // Returns: what that returns; else seen(why): payload_mismatch; `absent` if there is no such key
  //          or its answer has expired; or in_flight.
  //
  // Here is the way of a hit alone, and no address of what it knows of its caller leaves it: what
  // the processor can still take in decides how many look-ups it does at a time.
  template <class K, class Seen>
  [[gnu::always_inline]] auto find(const request& asked, const K& key, Seen seen) {
    reader* const self = readers::here();
    if (self == nullptr) [[unlikely]] {
      return find_locked(asked.hash, asked.payload, asked.now, key, Seen(seen));
    }
    const reading inside(*self);
    const auto is_it = [&](const Key& each) { return equal_(each, key); };
    const auto first = chains::find_soon(shards_.head_of(asked.hash), asked.hash, is_it);
    if (first.node != nullptr && is_hit(*first.node, asked)) [[likely]] {
      replays_.add(*self);
      return seen(*first.node, record_phase::answered, self);
    }
    return find_slowly(asked.hash, asked.payload, asked.now, key, Seen(seen), first.node,
                       first.where, first.old);
  }
  // For find: calls f for a record, and returns how it went.
  template <class F>
  struct seen_by {
    F f;
    Outcome operator()(record& there, record_phase phase, reader*) { return f(there, phase); }
    Outcome operator()(Outcome why) const noexcept { return why; }
  };
  // As find, with a reference to what was found: `replayed`.
  template <class K>
  Outcome find(const request& asked, const K& key, record_ptr& seat) {
    const auto keep = [&seat](record& there, record_phase) {
      seat = record_ptr::share(there);
      return Outcome::replayed;
    };
    return find(asked, key, seen_by<decltype(keep)>{keep});
  }

  // Effects: finds the key's record or makes one, and puts it into seat, or self into its ring.
  // Returns: executed if the caller owns it and is to run; joined if self is queued there: it may
  //          be woken before this returns, so the caller reads self after its wake-up only. If
  //          self is a thread's that is inside another run, that ends its wait in run_waits.
  //          cancelled if the wait of self was ended before it began: not counted yet.
  // For a key that find() has called absent or in_flight.
  template <class K>
  Outcome enter(const request& asked, const K& key, joiner* self, record_ptr& seat, bool absent) {
    run_waits::inside inside;
    record_ptr fresh;
    if (absent) {
      if (!is_key(key)) return refuse(asked.hash);
      fresh = make(asked, key);
    }
    shard& home = shard_of(asked.hash);
    for (;;) {
      {
        section in(home);
        home.expect_eviction();
        record* const there =
            home.chains.find(asked.hash, [&](const Key& each) { return equal_(each, key); });
        const entry what = there == nullptr ? entry::none : kind_of(*there, asked);
        if (what == entry::valid) return home.admit(*there, asked, self, seat);
        if (what == entry::none && !home.has_room()) {
          ++home.happened.refused;
          return Outcome::over_capacity;
        }
        if (fresh) {
          if (what == entry::expired) {
            in.tell(news::expired, *there);
            home.expire(*there);
          }
          if (what == entry::none) home.make_room(asked.now);
          home.insert(std::move(fresh), lease_end(asked.now), seat, inside);
          if (what == entry::leased) home.hand_over(*there, *seat);
          if (home.chains.wants_to_grow()) in.grow_behind();
          return Outcome::executed;
        }
      }
      if (!is_key(key)) return refuse(asked.hash);
      fresh = make(asked, key);
    }
  }

  // Effects: ends the run; keeps its record for later callers or unlinks it; wakes the joiners.
  // Returns: false if the key was taken from the run meanwhile: nothing is kept then.
  bool settle(record& run, record_phase phase, bool keep, std::uint64_t weight,
              nanoseconds now) noexcept {
    shard& home = shard_of(hash_of_(run));
    section in(home);
    ++(phase == record_phase::answered ? home.happened.executed : home.happened.failures);
    joiner* const joiners = shard::take_joiners(run, Outcome::joined, home.happened.shared);
    const bool owned = !shard::is_unlinked(run);
    if (!owned) ++home.happened.lost;
    run.at = now;
    const bool fits = weight <= std::min(home.strength, shard::most_weight);
    if (owned && keep && !fits) ++home.happened.too_heavy;
    const bool stays = owned && keep && fits;
    // Before it is settled: whoever finds it settled without the lock is to see that it has left.
    if (owned && !stays) home.unlink(run);
    run.settle(phase);
    if (stays) {
      while (home.weight + weight > home.strength) home.evict_one(now);
      if (home.weighs) run.weight() = static_cast<std::uint32_t>(weight);
      home.weight += weight;
      ++home.settled;
      home.line.push(run);
    } else {
      home.gone.add(run);
    }
    in.unlock();
    in.tell_all();
    home.tell_end(run, phase, owned, owned && keep && !fits);
    shard::wake(joiners);
    return owned;
  }

  // Effects: hands the run to the joiner that has waited longest; if there is none, unlinks it. If
  //          its effect has begun, it is in doubt from now on, and the joiners are told so.
  void abandon(record& run, nanoseconds now) noexcept {
    shard& home = shard_of(hash_of_(run));
    section in(home);
    joiner* woken = nullptr;
    ++home.happened.given_up;
    if (run.word().has(record_word::effect_begun)) {
      run.at = shard::no_owner;
      woken = shard::take_joiners(run, Outcome::in_doubt, home.happened.in_doubt);
      if (shard::is_unlinked(run)) home.gone.add(run);
    } else if (run.joiners != nullptr) {
      ring_of<joiner> all(run.joiners);
      woken = &all.pop_front();
      run.joiners = all.first();
      woken->next = nullptr;
      woken->told = Outcome::executed;
      run.at = lease_end(now);
      run.add_turns(1);
      ++home.happened.takeovers;
    } else {
      if (!shard::is_unlinked(run)) home.unlink(run);
      home.gone.add(run);
    }
    in.unlock();
    shard::wake(woken);
  }

  // Effects: says that the run's effect begins, or (if not) that its owner is alive: its lease
  //          begins anew. Returns: false if the run has lost its key: do not begin then.
  bool renew(record& run, nanoseconds now, bool effect) noexcept {
    section in(shard_of(hash_of_(run)));
    if (shard::is_unlinked(run)) return false;
    run.at = lease_end(now);
    if (effect) run.set(record_word::effect_begun);
    return true;
  }

  // Effects: takes back a joiner that is queued. Returns: false if it is not: it was woken.
  bool leave(std::uint32_t hash, joiner& self) noexcept {
    shard& home = shard_of(hash);
    const std::lock_guard lock(home.mutex);
    const bool queued = shard::remove(self);
    if (queued) ++home.happened.cancelled;
    return queued;
  }
  // See the shard's, here and below.
  static bool leave_woken(joiner& self) noexcept { return shard::leave_woken(self); }
  nanoseconds look_at_lease(std::uint32_t hash, joiner& self, nanoseconds now) noexcept {
    const std::lock_guard lock(shard_of(hash).mutex);
    return shard::look_at_lease(self, now);
  }
  // Effects: ends the wait of a joiner if nobody has: takes it off, or keeps it from being queued.
  // Returns: true if it was queued: the caller has to wake it.
  bool withdraw(std::uint32_t hash, joiner& self, wait_status why) noexcept {
    const std::lock_guard lock(shard_of(hash).mutex);
    return shard::end(self, why);
  }

  // Effects: counts a call that has ended in a way of which this knows nothing.
  void count(std::uint32_t hash, std::uint64_t Statistics::*how) noexcept {
    shard& home = shard_of(hash);
    const std::lock_guard lock(home.mutex);
    ++(home.happened.*how);
  }

  // Effects: unlinks the key's record; a running one only by force. Returns: whether it did, and
  //          it had not expired.
  template <class K>
  bool drop(const request& asked, const K& key, bool force) noexcept {
    shard& home = shard_of(asked.hash);
    section in(home);
    const auto is_it = [&](const Key& each) { return equal_(each, key); };
    record* const there = home.chains.find(asked.hash, is_it);
    return there != nullptr && home.drop(in, *there, asked.now, force);
  }

  bool has_listener() const noexcept { return tells_ != nullptr; }
  void tell(const event& what) const noexcept { shard::tell(tells_, what); }
  void tell(news what, const record& of) const noexcept {
    if (tells_ != nullptr) tell({what, &of.key, of.word().turn()});
  }

  // Effects: sums up what the shards have counted.
  Statistics statistics() const noexcept {
    Statistics total = shards_.sum();
    total.replayed += replays_.load();
    // order: relaxed: a count
    total.mismatches += mismatches_.load(std::memory_order_relaxed);
    return total;
  }

private:
  using shard = idempotency_shard<record, Outcome, Statistics>;
  using section = typename shard::section;
  using chains = typename shard::chains_type;

  enum class entry {
    none,
    valid,
    expired,
    leased,  // its lease is over, and the caller may have the key
  };

  shard& shard_of(std::uint32_t hash) const noexcept { return shards_.of(hash); }

  nanoseconds lease_end(nanoseconds now) const noexcept {
    return lease_.count() == 0 || now > nanoseconds::max() - lease_ ? nanoseconds::max()
                                                                    : now + lease_;
  }
  // As the shard's, without a look at its line.
  bool is_expired(const record& each, record_word word, nanoseconds now) const noexcept {
    return now - each.at >= (word.phase() == record_phase::answered ? answer_ttl_ : failure_ttl_);
  }
  template <class K>
  bool is_key(const K& key) const {
    if constexpr (requires { { key.size() } -> std::convertible_to<std::size_t>; }) {
      return key.size() != 0 && key.size() <= key_size_;
    } else {
      return true;
    }
  }
  Outcome refuse(std::uint32_t hash) noexcept {
    count(hash, &Statistics::bad_keys);
    return Outcome::bad_key;
  }
  template <class K>
  record_ptr make(const request& asked, const K& key) const {
    const auto more = weighs_ ? room_behind::a_weight : room_behind::none;
    return record_ptr(new (more) record(key, asked.hash, asked.payload));
  }

  // Returns: whether all is as it mostly is; else look_at() says what it is. Of what eviction has
  //          come by, the first hit is none.
  [[gnu::always_inline]] bool is_hit(const record& there,
                                     const request& asked) const noexcept {
    constexpr std::uint32_t hit =
        static_cast<std::uint32_t>(record_phase::answered) | record_word::was_read;
    constexpr std::uint32_t all =
        record_word::phase_bits | record_word::was_read | record_word::unlinked;
    return (there.word().bits & all) == hit && there.payload == asked.payload &&
           asked.now - there.at < answer_ttl_;
  }
  // Preconditions: inside a reading.
  template <class K, class Seen>
  [[gnu::noinline]] auto find_slowly(std::uint32_t hash, std::uint64_t payload, nanoseconds now,
                                     const K& key, Seen seen, record* there,
                                     std::uintptr_t where, std::uintptr_t old) {
    if (there == nullptr) {
      const auto is_it = [&](const Key& each) { return equal_(each, key); };
      const auto found =
          chains::find_for_sure(shards_.head_of(hash), {nullptr, where, old}, hash, is_it);
      if (found.node == nullptr) {
        return found.for_sure ? seen(Outcome::absent) : find_locked(hash, payload, now, key, seen);
      }
      there = found.node;
    }
    const record_word word = there->word();
    // It has left while this reader came to it: who has the key now is known under the lock.
    if (word.has(record_word::unlinked)) return find_locked(hash, payload, now, key, seen);
    return look_at(*there, word, {hash, payload, now}, seen);
  }
  // One of the two ways to a record that somebody else made: without the lock. The word is from a
  // time when the record had the key.
  template <class Seen>
  auto look_at(record& there, record_word word, const request& asked, Seen& seen) {
    const bool running = word.running();
    if (!running && is_expired(there, word, asked.now)) return seen(Outcome::absent);
    if (there.payload != asked.payload) [[unlikely]] {
      // order: relaxed: a count
      mismatches_.fetch_add(1, std::memory_order_relaxed);
      return seen(Outcome::payload_mismatch);
    }
    if (running) return seen(Outcome::in_flight);
    if (!word.has(record_word::was_read)) there.set(record_word::was_read);
    replays_.add_anywhere();
    return seen(there, word.phase(), nullptr);
  }
  template <class K, class Seen>
  [[gnu::noinline, gnu::cold]] auto find_locked(std::uint32_t hash, std::uint64_t payload,
                                                nanoseconds now, const K& key, Seen seen) {
    shard& home = shard_of(hash);
    record_ptr held;  // what is seen is seen without the lock
    record_word word{};
    {
      const std::lock_guard lock(home.mutex);
      record* const there =
          home.chains.find(hash, [&](const Key& each) { return equal_(each, key); });
      if (there == nullptr) return seen(Outcome::absent);
      held = record_ptr::share(*there);
      word = there->word();
    }
    return look_at(*held, word, {hash, payload, now}, seen);
  }

  entry kind_of(const record& there, const request& asked) const noexcept {
    const record_word word = there.word();
    if (!word.running()) return is_expired(there, word, asked.now) ? entry::expired : entry::valid;
    if (asked.now < there.at || there.payload != asked.payload) return entry::valid;
    if (there.runs_here()) return entry::valid;  // it lives: it is this thread
    if (word.has(record_word::effect_begun) && !asked.resolves) return entry::valid;
    return there.at == nanoseconds::max() ? entry::valid : entry::leased;
  }

  idempotency_shards<shard, Statistics> shards_;
  const typename record::hash_of hash_of_;
  const listener* const tells_;
  const bool weighs_;
  const std::size_t key_size_;
  const nanoseconds answer_ttl_, failure_ttl_, lease_;
  const Equal equal_{};
  alignas(64) reader_counts replays_;  // found without a lock
  std::atomic<std::uint64_t> mismatches_{0};
};

}  // namespace interlock::detail
