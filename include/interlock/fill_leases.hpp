// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/fill_leases.hpp - a cache that is filled by its readers keeps nothing that is outdated.
//
// Problem     A reader misses the cache and reads the store; meanwhile a writer changes the store
//             and removes the key from the cache; then the reader puts what it read. The cache
//             holds the old value until somebody evicts it.
// Guarantee   A fill is refused if its key was invalidated after its lease was taken.
//             No fill and no invalidation of a key run at the same time.
// Progress    take: wait-free. fill, invalidate: a lock for as long as what they are given runs.
// Cost        16 bytes for each slot, and nothing for a key or a lease. Keys that share a slot can
//             refuse each other's fills, never let one pass. take is one load.
// Lifetime    Outlives its calls; leases are plain values that may outlive it unused.
// Not for     Caches whose entries have versions: compare these instead
//             (versioned::store_if_newer). One execution for many who miss: idempotency_cache.
//
// Example     // examples/keyed_mirror.cpp
//             const auto lease = leases.take(key);  // before the store is read
//             const int read = store.read(key);
//             store.write(key, 2);                                // by another thread, meanwhile
//             leases.invalidate(key, [&] { cache.erase(key); });  // by the writer, afterwards
//             leases.fill(lease, [&] { cache[key] = read; });  // refused: a writer came

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "detail/futex_mutex.hpp"

namespace interlock {

// The leases of "Scaling Memcache at Facebook" (R. Nishtala et al., NSDI 2013), within one process.
template <class Key, class Hash = std::hash<Key>>
class fill_leases {
public:
  // What a key's slot was when the reader began.
  class lease {
    friend fill_leases;
    lease(std::size_t slot, std::uint64_t seen) noexcept : slot_(slot), seen_(seen) {}
    std::size_t slot_;
    std::uint64_t seen_;
  };

  // Effects: has at least so many slots. Throws: std::invalid_argument if that is 0 or more than
  //          2^32; std::bad_alloc.
  explicit fill_leases(std::size_t slots = 1024) : mask_(valid(slots) - 1) {
    slots_ = std::make_unique<slot[]>(mask_ + 1);
  }

  // Returns: a lease, to be taken before the store is read.
  // Synchronization: what came before each invalidation of the key that does not refuse it happens
  //                  before the return.
  [[nodiscard("a fill needs it")]] lease take(const Key& key) const {
    const std::size_t place = place_of(key);
    // order: acquire [leases.take] pairs with [leases.invalidate]: reads of the store see what was written before
    return {place, slots_[place].invalidations.load(std::memory_order_acquire)};
  }

  // Effects: calls put() unless the key was invalidated since the lease was taken. It is short, as
  //          the slot is locked, and uses no leases. What it throws goes to the caller.
  // Preconditions: the lease is of this object.
  // Returns: whether it did.
  template <class F>
  bool fill(const lease& by, F&& put) {
    slot& home = slots_[by.slot_];
    const std::lock_guard lock(home.mutex);
    // order: relaxed: written under the lock that is held here
    if (home.invalidations.load(std::memory_order_relaxed) != by.seen_) return false;
    std::forward<F>(put)();
    return true;
  }

  // Effects: to be called after the store was changed: fills under earlier leases are refused.
  //          Calls erase(), as fill() calls put().
  template <class F>
  void invalidate(const Key& key, F&& erase) {
    slot& home = slots_[place_of(key)];
    const std::lock_guard lock(home.mutex);
    // order: release [leases.invalidate] pairs with [leases.take]: publishes what was written to the store
    home.invalidations.fetch_add(1, std::memory_order_release);
    std::forward<F>(erase)();
  }
  void invalidate(const Key& key) {
    invalidate(key, [] {});
  }

private:
  struct slot {
    std::atomic<std::uint64_t> invalidations{0};
    detail::futex_mutex mutex;
  };
  static_assert(sizeof(slot) == 16, "as the contract says");

  static std::size_t valid(std::size_t slots) {
    if (slots != 0 && slots <= std::size_t{1} << 32U) return std::bit_ceil(slots);
    throw std::invalid_argument("interlock::fill_leases: from 1 to 2^32 slots");
  }

  std::size_t place_of(const Key& key) const {
    const std::uint64_t mixed = std::uint64_t{hash_(key)} * 0x9E3779B97F4A7C15U;
    return static_cast<std::size_t>(mixed >> 32U) & mask_;
  }

  const std::size_t mask_;
  std::unique_ptr<slot[]> slots_;
  Hash hash_{};
};

}  // namespace interlock
