// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_shards.hpp - the shards of a cache: how capacity and weight are
// dealt out, how they are counted together, and their end.

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "idempotency_shard.hpp"
#include "lookup_chains.hpp"
#include "pins.hpp"
#include "unlinked_nodes.hpp"

namespace interlock::detail {

struct idempotency_limits {
  std::size_t capacity;
  std::uint64_t weight;  // 0: only the number counts
  std::size_t key_size;
  std::chrono::nanoseconds answer_ttl, failure_ttl;
  std::chrono::nanoseconds lease;  // 0: none
};

template <class Shard, class Statistics>
class idempotency_shards {
  using record = typename Shard::record;

public:
  // One for each 256 of the capacity, and none without a part of the weight.
  idempotency_shards(const idempotency_limits& how, typename record::hash_of hash_of,
                     const typename Shard::listener& tells)
      : mask_(static_cast<std::uint32_t>(count_for(how) - 1)),
        heads_(std::make_unique<chains_head[]>(count())),
        all_(std::make_unique<Shard[]>(count())) {
    const auto part = [n = count()](std::uint64_t whole, std::size_t i) {
      return whole / n + (i < whole % n ? 1 : 0);
    };
    for (std::size_t i = 0; i < count(); ++i) {
      Shard& each = all_[i];
      each.answer_ttl = how.answer_ttl;
      each.tells = tells ? &tells : nullptr;
      each.failure_ttl = how.failure_ttl;
      each.room = static_cast<std::size_t>(part(how.capacity, i));
      each.weighs = how.weight != 0;
      each.strength = how.weight == 0 ? ~std::uint64_t{0} : part(how.weight, i);
      each.batch = std::clamp<std::size_t>(each.room / 16, 1, 32);
      const std::size_t small = std::min<std::size_t>(each.room, 11);
      const std::size_t first = std::bit_ceil(small + small / 3 + 1);  // a small one never grows
      bucket_array* const empty =
          Shard::chains_type::make_array(static_cast<unsigned>(std::countr_zero(first)));
      if (empty == nullptr) throw std::bad_alloc();
      each.chains.start(heads_[i], *empty, hash_of);
    }
  }

  // The lower bits of a hash choose the shard, the upper ones the bucket.
  Shard& of(std::uint32_t hash) const noexcept { return all_[hash & mask_]; }
  // What readers need of it.
  const chains_head& head_of(std::uint32_t hash) const noexcept { return heads_[hash & mask_]; }

  Statistics sum() const noexcept {
    using all = Statistics;
    all total{};
    for (std::size_t i = 0; i < count(); ++i) {
      const Shard& each = all_[i];
      const std::lock_guard lock(each.mutex);
      total.entries += each.chains.size();
      total.running += each.chains.size() - each.settled;
      total.weight += each.weight;
      for (const auto field :
           {&all::executed, &all::failures, &all::given_up, &all::shared, &all::replayed,
            &all::mismatches, &all::refused, &all::bad_keys, &all::in_flight, &all::in_doubt,
            &all::reentered, &all::circular, &all::cancelled, &all::timed_out, &all::joined,
            &all::takeovers, &all::lost, &all::evicted, &all::expired, &all::dropped,
            &all::too_heavy}) {
        total.*field += each.happened.*field;
      }
    }
    return total;
  }

  // Effects: takes all out, then lets go of it: a destructor of the user's that asks meanwhile
  //          finds an empty cache, and what it puts in goes as well.
  // Preconditions: no other thread is in.
  void clear() noexcept {
    while (clear_once()) {
    }
  }

private:
  static std::size_t count_for(const idempotency_limits& how) noexcept {
    std::uint64_t most = how.capacity / 256;
    if (how.weight != 0) most = std::min(most, how.weight);
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(std::bit_floor(most), 1, 64));
  }
  std::size_t count() const noexcept { return std::size_t{mask_} + 1; }

  bool clear_once() noexcept {
    record* out = nullptr;
    const auto take = [&out](record& each) {
      // order: relaxed: nobody reads
      each.next.store(std::exchange(out, &each), std::memory_order_relaxed);
    };
    bool any = false;
    for (std::size_t i = 0; i < count(); ++i) {
      Shard& each = all_[i];
      each.line.drain([](const record& old) { return Shard::is_unlinked(old); }, take);
      each.chains.clear(take);
      each.settled = 0;
      each.weight = 0;
      const unlinked_nodes<record> gone(std::move(each.gone));
      any = any || !gone.empty();
    }
    any = any || out != nullptr;
    const pins::seen kept;  // an answer may be held for longer than the cache lives
    while (out != nullptr) {
      record& first = *out;
      // order: relaxed: nobody reads
      out = first.next.load(std::memory_order_relaxed);
      kept.let_go(first);
    }
    return any;
  }

  const std::uint32_t mask_;  // of the number, a power of two
  const std::unique_ptr<chains_head[]> heads_;
  const std::unique_ptr<Shard[]> all_;
};

}  // namespace interlock::detail
