// SPDX-License-Identifier: BSL-1.0
// oneTBB's maps: an answer is read under the lock of its element, or held by a handle.

#define TBB_PREVIEW_CONCURRENT_LRU_CACHE 1
#include <oneapi/tbb/concurrent_hash_map.h>
#include <oneapi/tbb/concurrent_lru_cache.h>

#include "cache/jobs.hpp"

namespace caches {
namespace {

template <class Key>
struct hash_map {
  using key_type = Key;
  using map_type = tbb::concurrent_hash_map<Key, answer>;
  map_type map;
  explicit hash_map(std::uint64_t count) : map(count) {}
  void insert(const Key& key, const answer& value) { map.insert({key, value}); }
  char look(const Key& key) {
    typename map_type::const_accessor found;
    return map.find(found, key) ? found->second.bytes[0] : '\0';
  }
};

template <class Key>
struct lru_cache {
  using key_type = Key;
  using cache_type = tbb::concurrent_lru_cache<Key, answer, answer (*)(Key)>;
  cache_type cache;
  explicit lru_cache(std::uint64_t count)
      : cache([](Key) { return answer{}; }, 2 * count) {}
  void insert(const Key& key, const answer&) { look(key); }
  char look(const Key& key) {
    const typename cache_type::handle found = cache[key];
    return const_cast<typename cache_type::handle&>(found).value().bytes[0];
  }
};

struct hash_map_miss {
  tbb::concurrent_hash_map<std::uint64_t, std::shared_ptr<const answer>> map;
  void prepare() {}
  void keep(std::uint64_t key) { map.insert({key, std::make_shared<const answer>()}); }
};

struct lru_cache_miss {
  tbb::concurrent_lru_cache<std::uint64_t, answer, answer (*)(std::uint64_t)> cache{
      [](std::uint64_t) { return answer{}; }, 65'536};
  void prepare() {}
  void keep(std::uint64_t key) { benchmark::DoNotOptimize(cache[key].value()); }
};

const bench::contenders here([] {
  add_hits<hash_map>("oneTBB concurrent_hash_map");
  add_hits<lru_cache>("oneTBB concurrent_lru_cache");
  add_misses<hash_map_miss>("oneTBB concurrent_hash_map, std::make_shared");
  add_misses<lru_cache_miss>("oneTBB concurrent_lru_cache");
});

}  // namespace
}  // namespace caches
