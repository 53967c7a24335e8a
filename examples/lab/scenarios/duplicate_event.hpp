// SPDX-License-Identifier: BSL-1.0
#pragma once

// duplicate_event - a queue redelivers; two workers get one event.

#include <algorithm>
#include <cstdlib>
#include <interlock/idempotency_cache.hpp>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "../support.hpp"

namespace lab::duplicate_event {

inline constexpr std::int64_t events = 5;

inline std::int64_t cast_of(const stage& scene) {
  return scene.drawn() ? 1 : events;
}

// The database of the round: the effects, and the ids of the events that had theirs. It outlives
// the process, which restarts once in every round.
class database {
public:
  // Effects: the event takes effect. One transaction, blind to the event's id.
  void apply(stage& scene, unsigned lane, std::int64_t id) {
    const auto slot = static_cast<std::size_t>(id);
    scene.step(
        lane, [&] { return effects_[slot].add(1); },
        [](std::int64_t n) {
          return n == 1 ? line{"the event takes effect"} : line{"it takes effect once more", true};
        });
  }
  // Effects: unless the id is in the table, puts it there and lets the event take effect, in one
  //          transaction: a unique key, and an insert that may find it taken.
  // Returns: whether the id was new.
  bool apply_once(stage& scene, unsigned lane, std::int64_t id) {
    const std::lock_guard transaction(guard_);
    if (!processed_.insert(id).second) {
      scene.say(lane, "the table knows the id");
      return false;
    }
    apply(scene, lane, id);
    return true;
  }
  [[nodiscard]] tally judge(const stage& scene) const {
    std::int64_t sum = 0;
    std::int64_t wrong = 0;
    for (std::int64_t id = 0; id < cast_of(scene); ++id) {
      const std::int64_t effects = effects_[static_cast<std::size_t>(id)].read();
      sum += effects;
      wrong += std::abs(effects - 1);
    }
    return {cast_of(scene), sum, wrong};
  }

private:
  std::vector<word> effects_ = std::vector<word>(static_cast<std::size_t>(events));
  lockable guard_;
  std::set<std::int64_t> processed_;
};

// Effects: every event is delivered twice, mostly to two lanes, which call work(lane, id, way).
template <class Work>
void deliver(const settings& set, stage& scene, std::uint64_t life, Work work) {
  // In the small round the second life has one worker: the first has shown what two do.
  const unsigned lanes = !scene.drawn() ? std::max(2U, set.threads) : life == 0 ? 2 : 1;
  std::vector<std::int64_t> queue;
  for (std::int64_t id = 0; id < cast_of(scene); ++id) queue.insert(queue.end(), {id, id});
  dice chance(set.seed, 1000 + life);
  // A redelivery follows its event closely: neighbours swap.
  for (std::size_t i = queue.size() - 1; i > 0 && cast_of(scene) > 1; --i) {
    if (chance.roll(0, 1) == 1) std::swap(queue[i], queue[i - 1]);
  }
  for (unsigned i = 0; i < lanes; ++i) scene.name(i, sentence("worker ", i + 1));
  together(lanes, [&](unsigned lane) {
    network way({set.threads, set.seed + life * 7919}, lane);
    for (std::size_t at = lane; at < queue.size(); at += lanes) {
      scene.say(lane, "receives the event");
      work(lane, queue[at], way);
    }
  });
}

template <class Database>
tally apply_each(const settings& set, stage& scene, Database& durable) {
  deliver(set, scene, 0, [&](unsigned lane, std::int64_t id, network& way) {
    way.travel(60, 160);
    durable.apply(scene, lane, id);
  });
  return durable.judge(scene);
}

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  database durable;
  return apply_each(set, scene, durable);
}

// "Have I seen it? No: process it, then remember it." Two workers ask before either remembers.
inline tally seen_set(const settings& set, trace* picture) {
  stage scene(picture);
  database durable;
  lockable guard;
  std::set<std::int64_t> seen;
  deliver(set, scene, 0, [&](unsigned lane, std::int64_t id, network& way) {
    {
      const std::lock_guard held(guard);
      const bool known = seen.count(id) > 0;
      scene.say(lane, known ? "has seen it" : "has not seen it");
      if (known) return;
    }
    way.travel(60, 160);
    durable.apply(scene, lane, id);
    const std::lock_guard held(guard);
    seen.insert(id);
  });
  return durable.judge(scene);
}

// One life of the process: a cache of its own, empty at the start.
using memory = interlock::idempotency_cache<std::int64_t, bool>;

// A life lasts as long as its memory; the queue delivers everything again in the next one.
inline constexpr std::uint64_t lives = 2;

inline void restart(stage& scene, std::uint64_t life) {
  if (life > 0) scene.say(0, "the process restarts; the queue delivers again");
}

// The cache alone is right until the process restarts: what it knew was in memory.
template <class Database>
tally know_for_a_life(const settings& set, stage& scene, Database& durable) {
  for (std::uint64_t life = 0; life < lives; ++life) {
    memory known({.capacity = 64});
    restart(scene, life);
    deliver(set, scene, life, [&](unsigned lane, std::int64_t id, network& way) {
      known.run(id, interlock::fingerprint{}, [&] {
        way.travel(60, 160);
        durable.apply(scene, lane, id);
        return true;
      });
    });
  }
  return durable.judge(scene);
}

inline tally cache_alone(const settings& set, trace* picture) {
  stage scene(picture);
  database durable;
  return know_for_a_life(set, scene, durable);
}

// The cache spares the duplicate the way to the database and lets it wait for the first; the table,
// written in the same transaction as the effect, remembers beyond the restart.
inline tally cache_and_table(const settings& set, trace* picture) {
  stage scene(picture);
  database durable;
  for (std::uint64_t life = 0; life < lives; ++life) {
    memory known({.capacity = 64});
    restart(scene, life);
    deliver(set, scene, life, [&](unsigned lane, std::int64_t id, network& way) {
      const auto answer = known.run(id, interlock::fingerprint{}, [&] {
        way.travel(60, 160);
        return durable.apply_once(scene, lane, id);
      });
      if (answer.outcome != interlock::idempotency_outcome::executed) {
        scene.say(lane, "the cache knows the id");
      }
    });
  }
  return durable.judge(scene);
}

// The table's unique key alone is right. It costs every duplicate the whole way to the database.
inline tally unique_key(const settings& set, trace* picture) {
  stage scene(picture);
  database durable;
  for (std::uint64_t life = 0; life < lives; ++life) {
    restart(scene, life);
    deliver(set, scene, life, [&](unsigned lane, std::int64_t id, network& way) {
      way.travel(60, 160);
      durable.apply_once(scene, lane, id);
    });
  }
  return durable.judge(scene);
}

inline scenario describe() {
  return {
      .name = "duplicate_event",
      .story = "A queue redelivers; two workers get one event.",
      .numbers = "5 events, each delivered twice: 5 effects; naive has 10",
      .unit = "effects beyond one per event",
      .cure = "idempotency_cache in front of a durable table of processed ids",
      .moral =
          "At-least-once delivery means twice sooner or later. The cache lets one worker work and "
          "the other wait for it; the table, written in the same transaction as the effect, "
          "remembers beyond a restart.",
      .forms = {
          {"naive", "process on receipt", role::naive, naive, nullptr},
          {"seen-set", "if not seen: process, then remember", role::still_wrong, seen_set, nullptr},
          {"cache-alone", "idempotency_cache without a table; the process restarts",
           role::still_wrong, cache_alone, nullptr},
          {"idempotency_cache", "cache.run(id, insert the id and apply, in one transaction)",
           role::fixed, cache_and_table, nullptr},
          {"unique-key", "insert the id and apply, in one transaction",
           role::plain, unique_key, nullptr},
      },
  };
}

}  // namespace lab::duplicate_event
