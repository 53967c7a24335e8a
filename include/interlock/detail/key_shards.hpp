// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_shards.hpp - where the keys of a keyed queue are, and what is known of them.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "key_work.hpp"
#include "queue_numbers.hpp"

namespace interlock::detail {

// Enough that threads at different keys seldom meet, few enough that a word says where work rests.
// By the hash function, so that a test can have fewer.
template <class Hash>
inline constexpr unsigned key_shard_bits = 6;

template <class Key, class Hash, class Equal>
class key_shards {
public:
  using work = keyed_work<Key>;
  using place = key_work::place;
  using kind = key_work::kind;

  struct closed_key {
    std::uint32_t hash;
    Key key;
    closed_key* next;
  };
  struct alignas(64) shard {
    brief_lock lock;  // protects all of this, and the work of its keys
    bool closed = false;
    bool marked = false;     // its bit of the crew
    park_word emptied{0};    // counts how often it lost its last key while closed
    key_work* ready = nullptr;  // heads at rest, oldest first
    key_work* ready_last = nullptr;
    closed_key* closed_keys = nullptr;
    key_table<Key, Equal> keys;
    std::uint64_t accepted = 0;
    std::uint64_t completed = 0;
  };
  static_assert(sizeof(shard) == 64, "one line: to enter a key and to leave it touch no other");
  static constexpr unsigned shard_bits = key_shard_bits<Hash>;

  key_shards() = default;
  key_shards(const key_shards&) = delete;
  key_shards& operator=(const key_shards&) = delete;
  ~key_shards() {
    for (shard& home : shards_) {
      while (home.closed_keys != nullptr) {
        delete std::exchange(home.closed_keys, home.closed_keys->next);
      }
    }
  }

  std::uint32_t hash_of(const Key& key) const { return mixed(hash_(key)); }
  shard& home_of(std::uint32_t hash) const noexcept { return shards_[hash >> (32 - shard_bits)]; }
  template <class F>
  void each_shard(F f) const {
    for (shard& home : shards_) {
      const std::lock_guard lock(home.lock);
      f(home);
    }
  }

  bool closed() const noexcept {
    const std::lock_guard lock(shards_.back().lock);
    return shards_.back().closed;
  }
  void reopen(const Key& key) noexcept {
    const std::uint32_t hash = hash_of(key);
    closed_key* gone = nullptr;
    {
      shard& home = home_of(hash);
      const std::lock_guard lock(home.lock);
      closed_key** const at = place_of(home, hash, key);
      gone = *at;
      if (gone != nullptr) *at = gone->next;
    }
    delete gone;
  }
  bool closed(const Key& key) const {
    const std::uint32_t hash = hash_of(key);
    shard& home = home_of(hash);
    const std::lock_guard lock(home.lock);
    return home.closed || *place_of(home, hash, key) != nullptr;
  }

  queue_stats stats() const noexcept {
    queue_stats sum;
    seldom_.add_to(sum);
    each_shard([&](const shard& home) {
      sum.accepted += home.accepted;
      sum.completed += home.completed;
    });
    return sum;
  }
  std::size_t active_keys() const noexcept {
    std::size_t sum = 0;
    each_shard([&](const shard& home) { sum += home.keys.size(); });
    return sum;
  }
  std::size_t depth(const Key& key) const {
    const std::uint32_t hash = hash_of(key);
    const shard& home = home_of(hash);
    const std::lock_guard lock(home_of(hash).lock);
    const key_work* const head = home.keys.find(hash, key, equal_);
    return head == nullptr ? 0 : std::size_t{head->posts} + head->others;
  }
  // Effects: f(key, depth) for each key, under a lock.
  template <class F>
  void each_depth(F f) const {
    each_shard([&](const shard& home) {
      home.keys.for_each([&](const key_work& head) {
        f(static_cast<const work&>(head).key(), std::size_t{head.posts} + head.others);
      });
    });
  }

protected:
  // Effects: notes that the key is closed; f(its shard) in the same section.
  template <class F>
  void mark_closed(std::uint32_t hash, const Key& key, F f) {
    auto fresh = std::make_unique<closed_key>(closed_key{hash, key, nullptr});
    shard& home = home_of(hash);
    const std::lock_guard lock(home.lock);
    f(home);
    if (*place_of(home, hash, key) == nullptr) {
      fresh->next = home.closed_keys;
      home.closed_keys = fresh.release();
    }
  }
  // Returns: where the closed key hangs, or the end of the list.
  closed_key** place_of(shard& home, std::uint32_t hash, const Key& key) const {
    closed_key** at = &home.closed_keys;
    while (*at != nullptr && !((*at)->hash == hash && equal_((*at)->key, key))) at = &(*at)->next;
    return at;
  }
  bool open(shard& home, const work& w) const {
    return home.closed_keys == nullptr || *place_of(home, w.hash, w.key()) == nullptr;
  }

  unsigned number_of(const shard& home) const noexcept {
    return static_cast<unsigned>(&home - shards_.data());
  }

  withdrawn_numbers seldom_;
  const Hash hash_{};
  const Equal equal_{};
  mutable std::array<shard, (std::size_t{1} << shard_bits)> shards_;
};

}  // namespace interlock::detail
