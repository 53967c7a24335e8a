// SPDX-License-Identifier: BSL-1.0
// Abseil's flat map, in 64 shards with a mutex each; what is found is kept alive by a count.

#include <absl/container/flat_hash_map.h>
#include <absl/hash/hash.h>

#include <mutex>

#include "cache/jobs.hpp"

namespace caches {
namespace {

template <class Key>
struct flat_map {  // one thread's
  using key_type = Key;
  absl::flat_hash_map<Key, answer> map;
  explicit flat_map(std::uint64_t count) { map.reserve(count); }
  void insert(const Key& key, const answer& value) { map.emplace(key, value); }
  char look(const Key& key) const { return map.find(key)->second.bytes[0]; }
};

template <class Key>
struct flat_shards {
  using key_type = Key;
  struct alignas(64) shard {
    std::mutex mutex;
    absl::flat_hash_map<Key, std::shared_ptr<const answer>> map;
  };
  std::array<shard, 64> all;
  explicit flat_shards(std::uint64_t count) {
    for (shard& each : all) each.map.reserve(count / 64 + 1);
  }
  shard& of(const Key& key) { return all[absl::Hash<Key>()(key) * 0x9e3779b97f4a7c15U >> 58U]; }
  void insert(const Key& key, const answer& value) {
    of(key).map.emplace(key, std::make_shared<const answer>(value));
  }
  char look(const Key& key) {
    std::shared_ptr<const answer> found;
    shard& home = of(key);
    {
      const std::lock_guard lock(home.mutex);
      found = home.map.find(key)->second;
    }
    return found->bytes[0];
  }
};

const bench::contenders here([] {
  add_hits<flat_map>("Abseil flat_hash_map find, one thread's");
  add_hits<flat_shards>("Abseil flat_hash_map of 64 shards, std::mutex, std::shared_ptr");
  add_misses<made_in_shards<flat_shards<std::uint64_t>>>(
      "Abseil flat_hash_map of 64 shards, std::make_shared");
});

}  // namespace
}  // namespace caches
