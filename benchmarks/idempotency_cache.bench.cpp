// SPDX-License-Identifier: BSL-1.0
#include <interlock/idempotency_cache.hpp>

#include <array>
#include <future>
#include <string>
#include <unordered_map>

#include "support/yardsticks.hpp"

namespace {

constexpr std::uint64_t keys = 1024;

// Lanes walk the keys, each from another start.
struct walk {
  struct alignas(64) position {
    std::uint64_t next = 0;
  };
  std::array<position, 64> lanes{};
  std::uint64_t operator()(unsigned lane) {
    return (lane * 97U + lanes[lane % 64].next++) % keys;
  }
};

// An answer that is there: the yardstick reads a plain map that nobody may write to meanwhile.
struct plain_map_find {
  walk key;
  std::unordered_map<std::uint64_t, std::uint64_t> map;
  plain_map_find() {
    for (std::uint64_t k = 0; k < keys; ++k) map.emplace(k, k);
  }
  void operator()(unsigned lane) { benchmark::DoNotOptimize(map.find(key(lane))->second); }
};

// What most code does: a mutex, a map, a shared_future.
struct mutex_and_futures {
  walk key;
  std::mutex mutex;
  std::unordered_map<std::uint64_t, std::shared_future<std::uint64_t>> map;
  mutex_and_futures() {
    for (std::uint64_t k = 0; k < keys; ++k) {
      std::promise<std::uint64_t> promise;
      promise.set_value(k);
      map.emplace(k, promise.get_future().share());
    }
  }
  void operator()(unsigned lane) {
    std::shared_future<std::uint64_t> found;
    {
      const std::lock_guard lock(mutex);
      found = map.find(key(lane))->second;
    }
    benchmark::DoNotOptimize(found.get());
  }
};

struct hit {
  walk key;
  interlock::idempotency_cache<std::uint64_t, std::uint64_t> cache;
  void operator()(unsigned lane) {
    const std::uint64_t k = key(lane);
    benchmark::DoNotOptimize(*cache.run(k, interlock::fingerprint{7}, [&] { return k; }));
  }
};

struct hit_text_key {
  walk key;
  std::vector<std::string> names;
  interlock::idempotency_cache<std::string, std::uint64_t> cache;
  hit_text_key() {
    for (std::uint64_t k = 0; k < keys; ++k) {
      names.push_back("0190f3c2-7d41-7a5e-9b0c-" + std::to_string(100'000'000'000U + k));
    }
  }
  void operator()(unsigned lane) {
    const std::uint64_t k = key(lane);
    benchmark::DoNotOptimize(*cache.run(names[k], interlock::fingerprint{7}, [&] { return k; }));
  }
};

// A key never seen before: run, keep, and evict the oldest.
struct miss {
  std::atomic<std::uint64_t> next{0};
  interlock::idempotency_cache<std::uint64_t, std::uint64_t> cache{{.capacity = 65'536}};
  void operator()(unsigned) {
    const std::uint64_t k = next.fetch_add(1, std::memory_order_relaxed);
    benchmark::DoNotOptimize(*cache.run(k, interlock::fingerprint{7}, [&] { return k; }));
  }
};

struct mutex_map_insert {
  std::mutex mutex;
  std::uint64_t next = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<std::uint64_t>> map;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    map.emplace(next, std::make_shared<std::uint64_t>(next));
    if (next >= 65'536) map.erase(next - 65'536);
    ++next;
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<plain_map_find>("idempotency_cache/plain unordered_map find");
  bench::add<mutex_and_futures>("idempotency_cache/mutex, map and shared_future");
  bench::add<mutex_map_insert>("idempotency_cache/mutex, map insert and erase");
  bench::add<hit>("idempotency_cache/hit, integer key");
  bench::add<hit_text_key>("idempotency_cache/hit, 36-character key");
  bench::add<miss>("idempotency_cache/miss with eviction");
  return bench::run(argc, argv);
}
