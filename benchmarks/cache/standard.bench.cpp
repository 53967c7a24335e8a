// SPDX-License-Identifier: BSL-1.0
// The plain map that nobody may write to meanwhile, and what people put around it.

#include <future>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "cache/jobs.hpp"

namespace caches {
namespace {

template <class Key>
struct plain_map {
  using key_type = Key;
  std::unordered_map<Key, answer> map;
  explicit plain_map(std::uint64_t count) { map.reserve(count); }
  void insert(const Key& key, const answer& value) { map.emplace(key, value); }
  char look(const Key& key) const { return map.find(key)->second.bytes[0]; }
};

template <class Key>
struct mutex_and_futures {
  using key_type = Key;
  std::mutex mutex;
  std::unordered_map<Key, std::shared_future<answer>> map;
  explicit mutex_and_futures(std::uint64_t count) { map.reserve(count); }
  void insert(const Key& key, const answer& value) {
    std::promise<answer> promise;
    promise.set_value(value);
    map.emplace(key, promise.get_future().share());
  }
  char look(const Key& key) {
    std::shared_future<answer> found;
    {
      const std::lock_guard lock(mutex);
      found = map.find(key)->second;
    }
    return found.get().bytes[0];
  }
};

// 64 shards; what is found is kept alive by a reference count. Mutex: exclusive or shared.
template <class Key, class Mutex, class Lock>
struct shards {
  using key_type = Key;
  struct alignas(64) shard {
    Mutex mutex;
    std::unordered_map<Key, std::shared_ptr<const answer>> map;
  };
  std::array<shard, 64> all;
  explicit shards(std::uint64_t count) {
    for (shard& each : all) each.map.reserve(count / 64 + 1);
  }
  shard& of(const Key& key) {
    return all[std::hash<Key>()(key) * 0x9e3779b97f4a7c15U >> 58U];
  }
  void insert(const Key& key, const answer& value) {
    of(key).map.emplace(key, std::make_shared<const answer>(value));
  }
  char look(const Key& key) {
    std::shared_ptr<const answer> found;
    shard& home = of(key);
    {
      const Lock lock(home.mutex);
      found = home.map.find(key)->second;
    }
    return found->bytes[0];
  }
};
template <class Key>
using mutex_shards = shards<Key, std::mutex, std::unique_lock<std::mutex>>;
template <class Key>
using shared_shards = shards<Key, std::shared_mutex, std::shared_lock<std::shared_mutex>>;

// A miss without any policy: nothing is ever thrown away, and there is one thread.
struct map_and_make_shared {
  std::unordered_map<std::uint64_t, std::shared_ptr<const answer>> map;
  void prepare() {}
  void keep(std::uint64_t key) { map.emplace(key, std::make_shared<const answer>()); }
};

// The same with a bound: the oldest goes.
struct bounded_map_and_make_shared : map_and_make_shared {
  std::vector<std::uint64_t> order = std::vector<std::uint64_t>(65'536);
  std::uint64_t count = 0;
  void prepare() {
    for (std::uint64_t i = 0; i < order.size(); ++i) keep(spread(i));
  }
  void keep(std::uint64_t key) {
    std::uint64_t& oldest = order[count % order.size()];
    if (count++ >= order.size()) map.erase(oldest);
    oldest = key;
    map_and_make_shared::keep(key);
  }
};

struct promise_for_each {
  std::mutex mutex;
  std::unordered_map<std::uint64_t, std::shared_future<answer>> map;
  void prepare() {}
  void keep(std::uint64_t key) {
    std::promise<answer> promise;
    {
      const std::lock_guard lock(mutex);
      map.emplace(key, promise.get_future().share());
    }
    promise.set_value({});
  }
};

const bench::contenders here([] {
  add_hits<plain_map>("std::unordered_map find, one thread's");
  add_hits<mutex_shards>("std::mutex of 64 shards, std::shared_ptr");
  add_hits<shared_shards>("std::shared_mutex of 64 shards, std::shared_ptr");
  add_hits<mutex_and_futures>("std::mutex, map of std::shared_future");
  const std::string plain = "std::unordered_map insert, std::make_shared";
  add_misses<map_and_make_shared>(plain);
  add_misses<bounded_map_and_make_shared>(plain + ", oldest out");
  add_misses<made_in_shards<mutex_shards<std::uint64_t>>>("std::mutex of 64 shards, std::make_shared");
  add_misses<promise_for_each>("std::mutex, map of std::shared_future");
});

}  // namespace
}  // namespace caches
