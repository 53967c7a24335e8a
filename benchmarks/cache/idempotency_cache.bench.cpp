// SPDX-License-Identifier: BSL-1.0
// Ours, with the fingerprint compared, the ttl looked at and the statistics counted.

#include <interlock/idempotency_cache.hpp>

#include "cache/jobs.hpp"

namespace caches {
namespace {

using interlock::fingerprint;
using interlock::idempotency_cache;

constexpr fingerprint payload{7};

template <class Key>
struct cache_of {
  using key_type = Key;
  interlock::coarse_time time;
  idempotency_cache<Key, answer> cache;
  explicit cache_of(std::uint64_t count)
      : cache({.capacity = 2 * count + 1024, .time = &time}) {}
  void insert(const Key& key, const answer& value) {
    benchmark::DoNotOptimize(cache.run(key, payload, [&] { return value; }));
  }
};

template <class Key>
struct visited : cache_of<Key> {
  using cache_of<Key>::cache_of;
  char look(const Key& key) const {
    char first = 1;
    this->cache.visit(key, payload, [&](const answer& found) { first = found.bytes[0]; });
    return first;
  }
};

template <class Key>
struct handed_out : cache_of<Key> {
  using cache_of<Key>::cache_of;
  char look(const Key& key) const { return this->cache.find(key, payload)->bytes[0]; }
};

template <class Key>
struct run_again : cache_of<Key> {
  using cache_of<Key>::cache_of;
  char look(const Key& key) {
    return this->cache.run(key, payload, [] { return answer{}; })->bytes[0];
  }
};

// The time from the system, as it is without options.time.
template <class Key>
struct visited_by_clock {
  using key_type = Key;
  idempotency_cache<Key, answer> cache;
  explicit visited_by_clock(std::uint64_t count) : cache({.capacity = 2 * count + 1024}) {}
  void insert(const Key& key, const answer& value) {
    benchmark::DoNotOptimize(cache.run(key, payload, [&] { return value; }));
  }
  char look(const Key& key) const {
    char first = 1;
    cache.visit(key, payload, [&](const answer& found) { first = found.bytes[0]; });
    return first;
  }
};

// Full from the start: each miss evicts.
struct miss_and_evict {
  interlock::coarse_time time;
  idempotency_cache<std::uint64_t, answer> cache{{.capacity = 65'536, .time = &time}};
  void prepare() {
    for (std::uint64_t i = 0; i < 2 * 65'536U; ++i) keep(spread(i));
  }
  void keep(std::uint64_t key) {
    benchmark::DoNotOptimize(cache.run(key, payload, [] { return answer{}; }));
  }
};

// A new one with room for all.
struct miss_with_room {
  interlock::coarse_time time;
  idempotency_cache<std::uint64_t, answer> cache{{.capacity = 262'144, .time = &time}};
  void prepare() {}
  void keep(std::uint64_t key) {
    benchmark::DoNotOptimize(cache.run(key, payload, [] { return answer{}; }));
  }
};

const bench::contenders here([] {
  const std::string who = "interlock::idempotency_cache ";
  add_hits<visited>(who + "visit");
  add_hits<handed_out>(who + "find");
  add_hits<run_again>(who + "run");
  using by_clock = looked_up<visited_by_clock<std::uint64_t>, 1000>;
  bench::add<by_clock>(hit_few + who + "visit, coarse clock");
  add_misses<miss_and_evict>(who + "run, evicts");
  add_misses<miss_with_room>(who + "run, has room");
});

}  // namespace
}  // namespace caches
