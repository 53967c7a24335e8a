// SPDX-License-Identifier: BSL-1.0
#pragma once

// stale_cache on an engine: the store's row is there, and the cache too.

#include "../../scenarios/stale_cache.hpp"
#include "../world.hpp"

namespace lab::stale_cache {

// The answer travels for longer than the writer needs for two writes with a flush of the disk.
inline constexpr std::int64_t answer_least = 2'000;
inline constexpr std::int64_t answer_most = 20'000;

template <class E>
struct on {
  using target = typename E::template mirror_target<std::int64_t, std::int64_t>;
  static constexpr std::int64_t key = 7;

  // A cache that keeps whatever comes last.
  struct forgetful {
    row<E> store;
    row<E> cache;  // the version that it holds; 0: empty

    explicit forgetful(const stage& scene)
        : store(scene, "row", old_row), cache(scene, "cached", 0) {}

    void update(stage& scene, unsigned lane, network& way) const {
      scene.step(
          lane, [&] { return store.write(new_row); }, row_updated);
      way.travel(0, 20);
    }
    // Effects: a reader misses, reads the store and fills the cache.
    void fill(stage& scene, unsigned lane, network& way) const {
      if (cache.read() != 0) return;
      const std::int64_t version = scene.step(
          lane, [&] { return store.read(); }, row_read);
      way.travel(answer_least, answer_most);
      scene.step(
          lane, [&] { return cache.write(version); },
          [&](std::int64_t) {
            line said = cache_filled(version);
            said.harmful = store.read() > version;
            return said;
          });
    }
  };

  // Effects: the writer updates the row, and the cache becomes `after`.
  static tally forget(const settings& set, trace* picture, std::int64_t after) {
    stage scene(picture);
    const forgetful data(scene);
    const auto update = [&](unsigned lane, network& way) {
      data.update(scene, lane, way);
      scene.step(
          lane, [&] { return data.cache.write(after); },
          [&](std::int64_t) {
            return after == 0 ? line{"empties the cache"} : cache_filled(after);
          });
    };
    play(set, scene, update, [&](unsigned lane, network& way) { data.fill(scene, lane, way); });
    return judge(data.cache.read());
  }
  static tally naive(const settings& set, trace* picture) { return forget(set, picture, 0); }
  static tally write_through(const settings& set, trace* picture) {
    return forget(set, picture, new_row);
  }

  // Returns: whether the cache took the row: what it holds was older.
  static bool put(const target& cache, std::int64_t version) {
    const auto answer = cache.put_if_newer(key, {0, static_cast<std::uint64_t>(version)}, version);
    if (!answer.conflicted()) static_cast<void>(answer.value());
    return answer.applied();
  }

  static tally put_if_newer(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> store(scene, "row", old_row);
    const target cache(client<E>(), fresh<E>("cached"));
    const auto offer = [&](unsigned lane, std::int64_t version) {
      const bool taken = put(cache, version);
      scene.say(lane, sentence(taken ? "puts version " : "is refused with version ", version));
    };
    const auto update = [&](unsigned lane, network& way) {
      scene.step(
          lane, [&] { return store.write(new_row); }, row_updated);
      way.travel(0, 20);
      offer(lane, new_row);
    };
    play(set, scene, update, [&](unsigned lane, network& way) {
      if (cache.get(key).value().value) return;
      const std::int64_t version = scene.step(
          lane, [&] { return store.read(); }, row_read);
      way.travel(answer_least, answer_most);
      offer(lane, version);
    });
    return judge(cache.get(key).value().value.value_or(0));
  }

  // Prices: a row arrives at the cache.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const row<E> cache(stage(nullptr), "cached", 0);
    std::vector<std::int64_t> version(threads * apart);
    return price(threads, operations, [&](unsigned lane) { cache.write(++version[lane * apart]); });
  }
  static double put_if_newer_cost(unsigned threads, std::uint64_t operations) {
    const target cache(client<E>(), fresh<E>("cached"));
    std::vector<std::int64_t> version(threads * apart);
    return price(threads, operations,
                 [&](unsigned lane) { keep(put(cache, ++version[lane * apart])); });
  }

  static scenario describe() {
    scenario out = told("stale_cache");
    out.cure = "mirror_target";
    out.moral =
        "Emptying the cache does not recall the answer that is on its way to it. A cache that "
        "takes a row only with a newer version cannot go back, in whatever order the answers "
        "arrive.";
    out.forms = {
        {"naive", "read the store, put into the cache; the writer empties it", role::naive, naive,
         naive_cost},
        {"write-through", "the same; the writer puts the new row", role::still_wrong, write_through,
         nullptr},
        {"mirror_target", "cache.put_if_newer(key, version, row), by readers and writers",
         role::fixed, put_if_newer, put_if_newer_cost},
    };
    return out;
  }
};

}  // namespace lab::stale_cache
