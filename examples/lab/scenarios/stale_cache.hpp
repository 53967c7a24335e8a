// SPDX-License-Identifier: BSL-1.0
#pragma once

// stale_cache - a reader fills the cache with what it read before a writer's update.

#include <algorithm>
#include <interlock/fill_leases.hpp>
#include <interlock/mirror.hpp>
#include <interlock/versioned.hpp>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "../support.hpp"

namespace lab::stale_cache {

inline constexpr std::int64_t old_row = 1;  // a row of the store, by its version
inline constexpr std::int64_t new_row = 2;

// Effects: lane 0 updates the row, the others read it through the cache, all at once:
//          update(lane, way), fill(lane, way).
template <class Update, class Fill>
void play(const settings& set, stage& scene, Update update, Fill fill) {
  const unsigned lanes = scene.drawn() ? 2 : std::max(2U, set.threads);
  scene.name(0, "writer");
  for (unsigned i = 1; i < lanes; ++i) scene.name(i, sentence("reader ", i));
  together(lanes, [&](unsigned lane) {
    network way(set, lane);
    if (lane == 0) {
      way.travel(60, 140);
      update(lane, way);
    } else {
      way.travel(0, 40);
      fill(lane, way);
    }
  });
}

// An empty cache is right: the next reader asks the store.
inline tally judge(std::int64_t cached) {
  const std::int64_t got = cached == 0 ? new_row : cached;
  return {new_row, got, new_row - got};
}

inline line row_updated(std::int64_t) {
  return {"writes version 2 to the store"};
}
inline line row_read(std::int64_t version) {
  return {sentence("reads version ", version, " from the store")};
}
inline line cache_filled(std::int64_t version) {
  return {sentence("puts version ", version, " into the cache"), version < new_row};
}

// A cache that keeps whatever comes last.
struct forgetful {
  word row{old_row};
  word cache;  // the version that it holds; 0: empty

  // Effects: a reader misses, reads the store and fills the cache.
  void fill(stage& scene, unsigned lane, network& way) {
    if (cache.read() != 0) return;
    const std::int64_t version = scene.step(
        lane, [&] { return row.read(); }, row_read);
    way.travel(120, 320);  // the answer travels
    scene.step(
        lane, [&] { return cache.write(version); },
        [&](std::int64_t) {
          line said = cache_filled(version);
          said.harmful = row.read() > version;
          return said;
        });
  }
};

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  forgetful data;
  const auto update = [&](unsigned lane, network& way) {
    scene.step(
        lane, [&] { return data.row.write(new_row); }, row_updated);
    way.travel(0, 20);
    scene.step(
        lane, [&] { return data.cache.write(0); },
        [](std::int64_t) { return line{"empties the cache"}; });
  };
  play(set, scene, update, [&](unsigned lane, network& way) { data.fill(scene, lane, way); });
  return judge(data.cache.read());
}

// The writer fills the cache itself, and a reader on its way puts the old row over it.
inline tally write_through(const settings& set, trace* picture) {
  stage scene(picture);
  forgetful data;
  const auto update = [&](unsigned lane, network& way) {
    scene.step(
        lane, [&] { return data.row.write(new_row); }, row_updated);
    way.travel(0, 20);
    scene.step(
        lane, [&] { return data.cache.write(new_row); },
        [](std::int64_t) { return cache_filled(new_row); });
  };
  play(set, scene, update, [&](unsigned lane, network& way) { data.fill(scene, lane, way); });
  return judge(data.cache.read());
}

// The cache compares versions when a row arrives: what is older than what it holds stays outside.
inline tally store_if_newer(const settings& set, trace* picture) {
  stage scene(picture);
  word row(old_row);
  interlock::versioned<std::int64_t> cache(0);  // version 0: empty
  const auto put = [&](unsigned lane, std::int64_t version) {
    scene.step(
        lane, [&] { return cache.store_if_newer(static_cast<std::uint64_t>(version), version); },
        [&](bool taken) {
          if (taken) return line{sentence("puts version ", version, " into the cache")};
          return line{sentence("is refused: the cache is not older than version ", version)};
        });
  };
  const auto update = [&](unsigned lane, network& way) {
    scene.step(
        lane, [&] { return row.write(new_row); }, row_updated);
    way.travel(0, 20);
    put(lane, new_row);
  };
  play(set, scene, update, [&](unsigned lane, network& way) {
    if (cache.version() != 0) return;
    const std::int64_t version = scene.step(
        lane, [&] { return row.read(); }, row_read);
    way.travel(120, 320);
    put(lane, version);
  });
  return judge(cache.load().value);
}

// The reader takes a lease before it reads; a writer who empties the cache calls in the leases.
inline tally leases(const settings& set, trace* picture) {
  stage scene(picture);
  forgetful data;
  interlock::fill_leases<std::int64_t> cache_leases(1);
  constexpr std::int64_t key = 7;
  const auto update = [&](unsigned lane, network& way) {
    scene.step(
        lane, [&] { return data.row.write(new_row); }, row_updated);
    way.travel(0, 20);
    cache_leases.invalidate(key, [&] {
      scene.step(
          lane, [&] { return data.cache.write(0); },
          [](std::int64_t) { return line{"empties the cache and calls in the leases"}; });
    });
  };
  play(set, scene, update, [&](unsigned lane, network& way) {
    if (data.cache.read() != 0) return;
    const auto lease = cache_leases.take(key);
    const std::int64_t version = scene.step(
        lane, [&] { return data.row.read(); }, row_read);
    way.travel(120, 320);
    const bool taken = cache_leases.fill(lease, [&] {
      scene.step(
          lane, [&] { return data.cache.write(version); },
          [&](std::int64_t) { return line{cache_filled(version).text}; });
    });
    if (!taken) scene.say(lane, sentence("is refused: the lease for version ", version, " is gone"));
  });
  return judge(data.cache.read());
}

// Nobody but the mirror puts anything into the cache. Writers and readers who miss it only ask.
inline tally mirror(const settings& set, trace* picture) {
  stage scene(picture);
  forgetful data;
  const unsigned courier = scene.drawn() ? 2 : std::max(2U, set.threads);
  scene.name(courier, "the mirror");
  network road(set, courier);
  struct snapshot {
    std::int64_t value;
    std::int64_t version;
  };
  const auto store = [&] {
    const std::int64_t version = scene.step(courier, [&] { return data.row.read(); }, row_read);
    return snapshot{version, version};
  };
  const auto cache = [&](std::int64_t row, std::int64_t) {
    road.travel(120, 320);
    scene.step(
        courier, [&] { return data.cache.write(row); },
        [&](std::int64_t) { return line{cache_filled(row).text}; });
    return interlock::mirror_write_result::applied;
  };
  background hands;
  interlock::mirror copy(store, cache, {.schedule = hands.scheduler()});
  const auto update = [&](unsigned lane, network&) {
    scene.step(lane, [&] { return data.row.write(new_row); }, row_updated);
    copy.touch();
  };
  play(set, scene, update, [&](unsigned lane, network&) {
    if (data.cache.read() != 0) return;
    scene.say(lane, "misses, and asks the mirror");
    copy.touch();
  });
  if (copy.flush() != interlock::mirror_flush_result::flushed) {
    throw std::runtime_error("the mirror could not flush");
  }
  return judge(data.cache.read());
}

// One lock around the whole way to the store: right, and readers wait in a line.
inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::mutex guard;
  forgetful data;
  const auto update = [&](unsigned lane, network& way) {
    const std::lock_guard lock(guard);
    scene.step(
        lane, [&] { return data.row.write(new_row); }, row_updated);
    way.travel(0, 20);
    data.cache.write(0);
  };
  play(set, scene, update, [&](unsigned lane, network& way) {
    const std::lock_guard lock(guard);
    data.fill(scene, lane, way);
  });
  return judge(data.cache.read());
}

// Prices: a row arrives at the cache.
inline constexpr std::size_t apart = 16;  // words: every lane counts on cache lines of its own

inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<std::int64_t> cache{0};
  std::vector<std::int64_t> version(threads * apart);
  return price(threads, operations, [&](unsigned lane) {
    // order: relaxed: the naive form in bare words; nothing is published
    cache.store(++version[lane * apart], std::memory_order_relaxed);
  });
}

inline double versioned_cost(unsigned threads, std::uint64_t operations) {
  interlock::versioned<std::int64_t> cache(0);
  std::vector<std::int64_t> version(threads * apart);
  return price(threads, operations, [&](unsigned lane) {
    const std::int64_t row = ++version[lane * apart];
    keep(cache.store_if_newer(static_cast<std::uint64_t>(row), row));
  });
}

inline double leases_cost(unsigned threads, std::uint64_t operations) {
  interlock::fill_leases<std::int64_t> cache_leases;
  word cache;
  std::vector<std::int64_t> version(threads * apart);
  return price(threads, operations, [&](unsigned lane) {
    const auto lease = cache_leases.take(7);
    const std::int64_t row = ++version[lane * apart];
    keep(cache_leases.fill(lease, [&] { cache.write(row); }));
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  std::int64_t cache = 0;
  std::vector<std::int64_t> version(threads * apart);
  return price(threads, operations, [&](unsigned lane) {
    const std::int64_t row = ++version[lane * apart];
    const std::lock_guard lock(guard);
    if (row > cache) cache = row;
  });
}

inline scenario describe() {
  return {
      .name = "stale_cache",
      .story = "A reader fills the cache with what it read before a writer's update.",
      .numbers =
          "the store holds version 2; the cache must end with version 2 or empty; naive ends with "
          "1",
      .unit = "versions that the cache is behind",
      .cure = "versioned<T>::store_if_newer, fill_leases, mirror",
      .moral =
          "Emptying the cache does not recall the answer that is on its way to it. A cache that "
          "takes a row only with a newer version cannot go back, in whatever order the answers "
          "arrive; nor can one whose fills carry a lease that the writer has called in.",
      .forms = {
          {"naive", "read the store, put into the cache; the writer empties it",
           role::naive, naive, naive_cost},
          {"write-through", "the same; the writer puts the new row",
           role::still_wrong, write_through, nullptr},
          {"versioned", "cache.store_if_newer(version, row), by readers and writers",
           role::fixed, store_if_newer, versioned_cost},
          {"leases", "lease = take(key); read; fill(lease, put), and the writer: invalidate(key)",
           role::fixed, leases, leases_cost},
          {"mirror", "the mirror alone puts; writers and readers who miss touch() it",
           role::fixed, mirror, nullptr},
          {"mutex", "one lock from the read to the put", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::stale_cache
