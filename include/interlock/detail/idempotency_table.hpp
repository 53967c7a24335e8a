// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_table.hpp - one record per key, in locked shards, oldest out first.
//
//   absent   -- enter ---------------------> running   the caller owns the record
//   running  -- settle, keep --------------> settled   answered or failed; on the shard's age ring
//   running  -- settle, do not keep -------> absent
//   running  -- abandon, joiners wait -----> running   attempt + 1, owned by the first joiner
//   running  -- abandon, nobody waits -----> absent
//   settled  -- expiry, eviction, drop ----> absent
//   running  -- drop by force -------------> absent    its owner still answers those who joined
//
// Why it is safe:
//   - A running record is written by its owner alone and settles once. An owner comes back to its
//     record, never to its key: a late one finds it unlinked and touches nothing else. The record
//     is its own fencing token; the owner keeps it alive, so its address is not reused meanwhile.
//   - Only admit() lets a caller at a record, and it compares the fingerprint first.
//   - Eviction sees the age ring alone, where no running record is.
//   - Unlinking comes before waking. Waking and freeing come after the lock is released: of the
//     user's code only Equal runs under it. A coroutine that goes on may end the ticket that woke
//     it, so settle() touches nothing of its caller's after the wake-up, nor does the caller.
//   - A joiner that wakes up to a running record owns it now; all others wake up to a settled one.
//     Neither is anyone else's to change, so they read it without the lock.

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "futex_mutex.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// A place on a ring in order of age. The ring is a link as well: its `newer` is the oldest member.
struct age_link {
  void append_to(age_link& end_of) noexcept {
    older = end_of.older;
    newer = &end_of;
    older->newer = end_of.older = this;
  }
  void remove() noexcept {
    older->newer = newer;
    newer->older = older;
    older = newer = this;
  }
  age_link* older = this;
  age_link* newer = this;
};

enum class record_phase : std::uint8_t { running, answered, failed };

template <class Key, class Response>
struct idempotency_record : age_link {
  // What f returned, built in place: neither copied nor moved, so it need be neither.
  struct answer {
    template <class F>
    answer(std::in_place_t, F&& f) : value(std::forward<F>(f)()) {}
    Response value;
  };

  idempotency_record(const Key& k, std::uint64_t mixed_hash, std::uint64_t fingerprint)
      : key(k), hash(mixed_hash), payload(fingerprint) {}

  void runs_here() noexcept {
    // order: relaxed: is_run_here() is true by its own thread's store alone
    runner.store(this_thread(), std::memory_order_relaxed);
  }
  bool is_run_here() const noexcept {
    // order: relaxed: equal only if this very thread stored it
    return runner.load(std::memory_order_relaxed) == this_thread();
  }

  const Key key;
  const std::uint64_t hash;
  const std::uint64_t payload;
  // Written by the owner while it runs, constant once settled.
  std::optional<answer> response;
  std::exception_ptr failure;
  std::atomic<const void*> runner{nullptr};  // the thread inside f, if it is a blocking run
  // Written under the shard's lock; the first three are constant once settled.
  record_phase phase = record_phase::running;
  std::uint32_t attempt = 1;
  std::chrono::nanoseconds settled_at{};
  bool was_replayed = false;                 // since eviction last came by
  std::shared_ptr<idempotency_record> self;  // the table's hold on it; null when unlinked
  idempotency_record* next = nullptr;        // in the bucket
  waiter* first = nullptr;                   // of the joiners
  waiter* last = nullptr;                    // if there is a first
};

// Outcome and Statistics are the public types of idempotency_cache: this file speaks their words.
template <class Key, class Response, class Equal, class Outcome, class Statistics>
class idempotency_table {
public:
  using record = idempotency_record<Key, Response>;
  using record_ptr = std::shared_ptr<record>;
  using nanoseconds = std::chrono::nanoseconds;

  struct request {
    const Key& key;
    std::uint64_t hash;
    std::uint64_t payload;
    nanoseconds now;
    waiter* node;        // null: do not wait
    bool blocks_thread;  // while it waits, so that a run of this thread would never end
  };

  idempotency_table(std::size_t capacity, nanoseconds answer_ttl, nanoseconds failure_ttl)
      : shards_(std::clamp<std::size_t>(std::bit_floor(capacity / 256), 1, 64)),
        answer_ttl_(answer_ttl),
        failure_ttl_(failure_ttl) {
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      shards_[i].room = capacity / shards_.size() + (i < capacity % shards_.size() ? 1 : 0);
      shards_[i].buckets.resize(std::bit_ceil(shards_[i].room));
    }
  }

  // Effects: finds the key's record or makes one, and puts it into seat.
  // Returns: executed if the caller owns it and is to run; joined if asked.node is queued there: it
  //          may be woken before this returns, so the caller reads seat after its wake-up only.
  Outcome enter(const request& asked, record_ptr& seat) {
    shard& home = shard_of(asked.hash);
    record_ptr fresh;
    for (;;) {
      record_ptr gone;  // freed without lock or key: what it holds may call the cache
      {
        const std::lock_guard lock(home.mutex);
        record* const present = find(home, asked.hash, asked.key);
        if (present != nullptr) {
          if (!is_expired(*present, asked.now)) return admit(home, *present, asked, seat);
          ++home.happened.expired;
          gone = unlink(home, *present);
        } else if (home.size == home.room && home.by_age.newer == &home.by_age) {
          ++home.happened.refused;
          return Outcome::over_capacity;
        } else if (fresh == nullptr || home.size == home.room) {
          gone = make_room(home, asked.now);
        }
        if (fresh != nullptr && gone == nullptr) {
          fresh->next = std::exchange(bucket_of(home, asked.hash), fresh.get());
          fresh->self = fresh;
          ++home.size;
          seat = std::move(fresh);
          return Outcome::executed;
        }
      }
      if (fresh == nullptr) {
        fresh = std::make_shared<record>(asked.key, asked.hash, asked.payload);
      }
    }
  }

  // Effects: ends the run; keeps its record for later callers or unlinks it; wakes the joiners.
  // Returns: false if the key was taken from the run meanwhile: nothing is kept then.
  bool settle(record& run, record_phase phase, bool keep, nanoseconds now) noexcept {
    shard& home = shard_of(run.hash);
    std::unique_lock lock(home.mutex);
    ++(phase == record_phase::answered ? home.happened.executed : home.happened.failures);
    run.phase = phase;
    run.settled_at = now;
    const bool owned = run.self != nullptr;
    if (owned && keep) run.append_to(home.by_age);
    const record_ptr dropped = owned && !keep ? unlink(home, run) : nullptr;
    waiter* const joiners = std::exchange(run.first, nullptr);
    lock.unlock();
    wake_all(joiners);
    return owned;
  }

  // Effects: hands the run to the joiner that has waited longest; if there is none, unlinks it.
  void abandon(record& run) noexcept {
    shard& home = shard_of(run.hash);
    std::unique_lock lock(home.mutex);
    record_ptr dropped;
    waiter* const heir = run.first;
    if (heir != nullptr) {
      run.first = heir->next;
      // order: relaxed: only the thread that leaves f could find its own mark here
      run.runner.store(nullptr, std::memory_order_relaxed);
      ++run.attempt;
      ++home.happened.takeovers;
    } else if (run.self != nullptr) {
      dropped = unlink(home, run);
    }
    lock.unlock();
    if (heir != nullptr) heir->wake();
  }

  // Effects: takes back a node that is queued. Returns: false if it is not: it was woken.
  bool leave(record& run, waiter& node) noexcept {
    const std::lock_guard lock(shard_of(run.hash).mutex);
    waiter* before = nullptr;
    waiter** at = &run.first;
    while (*at != nullptr && *at != &node) at = &(before = *at)->next;
    if (*at == nullptr) return false;
    *at = node.next;
    if (run.last == &node) run.last = before;
    return true;
  }

  // Effects: unlinks the key's record; a running one only by force. Returns: whether it did.
  bool drop(const Key& key, std::uint64_t hash, bool force) noexcept {
    shard& home = shard_of(hash);
    record_ptr dropped;  // freed after the lock
    const std::lock_guard lock(home.mutex);
    record* const present = find(home, hash, key);
    if (present == nullptr || (present->phase == record_phase::running && !force)) return false;
    dropped = unlink(home, *present);
    return true;
  }

  Statistics statistics() const noexcept {
    using all = Statistics;
    all total{};
    for (const shard& each : shards_) {
      const std::lock_guard lock(each.mutex);
      total.entries += each.size;
      for (const auto field :
           {&all::executed, &all::joined, &all::replayed, &all::mismatches, &all::refused,
            &all::failures, &all::takeovers, &all::evicted, &all::expired}) {
        total.*field += each.happened.*field;
      }
    }
    return total;
  }

private:
  struct alignas(64) shard {
    ~shard() {
      for (record* each : buckets) {
        while (each != nullptr) {
          const record_ptr last = std::move(each->self);
          each = each->next;
        }
      }
    }

    mutable futex_mutex mutex;  // protects all below
    std::size_t size = 0;
    std::size_t room = 0;  // its part of the capacity
    std::vector<record*> buckets;
    age_link by_age;  // the settled records
    Statistics happened{};
  };

  shard& shard_of(std::uint64_t hash) noexcept { return shards_[(hash >> 32U) % shards_.size()]; }

  static record*& bucket_of(shard& home, std::uint64_t hash) noexcept {
    return home.buckets[static_cast<std::size_t>(hash) & (home.buckets.size() - 1)];
  }

  record* find(shard& home, std::uint64_t hash, const Key& key) const noexcept {
    record* each = bucket_of(home, hash);
    while (each != nullptr && !(each->hash == hash && equal_(each->key, key))) each = each->next;
    return each;
  }

  // The only way to a record that somebody else made.
  static Outcome admit(shard& home, record& present, const request& asked, record_ptr& seat) {
    if (present.payload != asked.payload) {
      ++home.happened.mismatches;
      return Outcome::payload_mismatch;
    }
    if (present.phase != record_phase::running) {
      seat = present.self;
      present.was_replayed = true;
      ++home.happened.replayed;
      return Outcome::replayed;
    }
    if (asked.node == nullptr) return Outcome::in_flight;
    // To wait for a run from inside its f is to wait for oneself.
    if (asked.blocks_thread && present.is_run_here()) return Outcome::reentered;
    seat = present.self;
    asked.node->next = nullptr;
    (present.first == nullptr ? present.first : present.last->next) = asked.node;
    present.last = asked.node;
    ++home.happened.joined;
    return Outcome::joined;
  }

  bool is_expired(const record& each, nanoseconds now) const noexcept {
    const auto ttl = each.phase == record_phase::answered ? answer_ttl_ : failure_ttl_;
    return each.phase != record_phase::running && now - each.settled_at >= ttl;
  }

  // Returns: the table's hold on the record, which the caller lets go of after the lock.
  static record_ptr unlink(shard& home, record& gone) noexcept {
    record** at = &bucket_of(home, gone.hash);
    while (*at != &gone) at = &(*at)->next;
    *at = gone.next;
    gone.remove();
    --home.size;
    return std::move(gone.self);
  }

  // Effects: takes the oldest settled record if it has expired, or if the shard is full; but one
  //          that was replayed since the last look counts as new once.
  record_ptr make_room(shard& home, nanoseconds now) const noexcept {
    while (home.by_age.newer != &home.by_age) {
      auto& oldest = static_cast<record&>(*home.by_age.newer);
      const bool dead = is_expired(oldest, now);
      if (!dead && home.size < home.room) return nullptr;
      if (dead || !std::exchange(oldest.was_replayed, false)) {
        ++(dead ? home.happened.expired : home.happened.evicted);
        return unlink(home, oldest);
      }
      oldest.remove();
      oldest.append_to(home.by_age);
    }
    return nullptr;
  }

  std::vector<shard> shards_;
  const nanoseconds answer_ttl_, failure_ttl_;
  const Equal equal_{};
};

}  // namespace interlock::detail
