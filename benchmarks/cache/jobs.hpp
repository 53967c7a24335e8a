// SPDX-License-Identifier: BSL-1.0
#pragma once

// The jobs of this family: keys, answers of 64 bytes, and what holds a million of them.

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "support/bench.hpp"

namespace caches {

inline const std::string hit_few = "cache/hit, 1000 integer keys/";
inline const std::string hit_many = "cache/hit, 1 000 000 integer keys/";
inline const std::string hit_text = "cache/hit, 1000 keys of 36 characters/";
inline const std::string hit_hot = "cache/hit, one hot key/";
inline const std::string missed = "cache/miss, run and keep/";

struct answer {
  std::array<char, 64> bytes{};
};

// 64-bit numbers without a pattern, each once.
inline std::uint64_t spread(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

template <class Key>
Key key_number(std::uint64_t n) {
  if constexpr (std::is_same_v<Key, std::string>) {
    const std::uint64_t a = spread(n);
    const std::uint64_t b = spread(a);
    char text[37];
    std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(a >> 32U),
                  static_cast<unsigned>(a >> 16U) & 0xffffU, static_cast<unsigned>(a) & 0xffffU,
                  static_cast<unsigned>(b >> 48U),
                  static_cast<unsigned long long>(b << 16U >> 16U));
    return text;
  } else {
    return spread(n);
  }
}

// The keys, asked for in no order: a processor that has learned the order by heart, as it does with
// a thousand keys in a circle, finds a plain map four times as fast as any real traffic does.
template <class Key>
class keys_of {
public:
  explicit keys_of(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) all_.push_back(key_number<Key>(i));
    for (std::uint64_t i = 0; i < lanes_.size(); ++i) lanes_[i].state = spread(i);
  }
  const Key& next(unsigned lane) {
    std::uint64_t& state = lanes_[lane % lanes_.size()].state;
    state = state * 6364136223846793005U + 1442695040888963407U;
    return all_[(state >> 32U) * all_.size() >> 32U];
  }
  const std::vector<Key>& all() const { return all_; }

private:
  struct alignas(64) place {
    std::uint64_t state = 0;
  };
  std::vector<Key> all_;
  std::array<place, 64> lanes_{};
};

// A cache with all its keys, and one look-up after the other. A Map has insert(key, answer) and
// look(key), which returns a byte of the answer.
template <class Map, std::uint64_t Count>
struct looked_up {
  using key = typename Map::key_type;
  // Built once in a run: the larger ones take longer to build than to measure.
  struct filled {
    keys_of<key> keys{Count};
    alignas(128) Map map{Count};
    filled() {
      for (const key& each : keys.all()) map.insert(each, answer{});
    }
  };
  static filled& contents() {
    static const auto all = std::make_unique<filled>();
    return *all;
  }

  filled& in = contents();
  void operator()(unsigned lane) { benchmark::DoNotOptimize(in.map.look(in.keys.next(lane))); }
};

// Effects: registers what holds answers: few, many, text, and one hot key.
template <template <class Key> class Map>
void add_hits(const std::string& who) {
  bench::add<looked_up<Map<std::uint64_t>, 1000>>(hit_few + who);
  bench::add<looked_up<Map<std::uint64_t>, 1'000'000>>(hit_many + who);
  bench::add<looked_up<Map<std::string>, 1000>>(hit_text + who);
  bench::add<looked_up<Map<std::uint64_t>, 1>>(hit_hot + who);
}

constexpr int misses = 131'072;

// What keeps answers in shards, each a map of std::shared_ptr under a lock of its own.
template <class Shards>
struct made_in_shards {
  Shards map{0};
  void prepare() {}
  void keep(std::uint64_t key) {
    auto made = std::make_shared<const answer>();
    auto& home = map.of(key);
    const std::lock_guard lock(home.mutex);
    home.map.emplace(key, std::move(made));
  }
};

// Effects: registers what keeps an answer for a key that it has not seen: CPU time for each of
//          131 072 keys. A Store is built anew for them; it has prepare() and keep(key).
template <class Store>
void add_misses(const std::string& who) {
  bench::add_timed(missed + who + "/alone", [](benchmark::State&) {
    const auto own = std::make_unique<bench::apart<Store>>();
    Store& store = own->contender;
    std::vector<std::uint64_t> fresh;
    for (unsigned i = 0; i < misses; ++i) fresh.push_back(spread(1'000'000'000U + i));
    store.prepare();
    const double start = bench::thread_cpu_ns();
    for (const std::uint64_t key : fresh) store.keep(key);
    return (bench::thread_cpu_ns() - start) / misses;
  });
}

}  // namespace caches
