// SPDX-License-Identifier: BSL-1.0
#pragma once

// dirty_read - a reader sees half of another's change.

#include <algorithm>
#include <cstdlib>
#include <interlock/versioned.hpp>
#include <mutex>
#include <shared_mutex>

#include "../commit.hpp"
#include "../support.hpp"

namespace lab::dirty_read {

inline constexpr std::int64_t total = 100;
inline constexpr unsigned moves = 6;  // of the writer
inline constexpr unsigned sums = 6;   // of every reader

// What the readers saw, farthest from the truth, and how often it was wrong.
class verdict {
public:
  void see(std::int64_t sum) {
    if (sum == total) return;
    torn_.add(1);
    worst_.write(sum);
  }
  [[nodiscard]] tally judge() const { return {total, worst_.read(), torn_.read()}; }

private:
  word torn_;
  word worst_{total};
};

// Effects: lane 0 moves 10 from A to B or back, again and again: move(amount, way); the others add
//          the two up: sum(lane, way).
template <class Move, class Sum>
tally play(const settings& set, stage& scene, Move move, Sum sum) {
  const unsigned lanes = scene.drawn() ? 2 : std::max(2U, set.threads);
  verdict seen;
  scene.name(0, "moves 10 from A to B");
  for (unsigned i = 1; i < lanes; ++i) scene.name(i, sentence("reader ", i));
  together(lanes, [&](unsigned lane) {
    network way(set, lane);
    if (scene.drawn()) way.travel(0, 60);
    if (lane == 0) {
      for (unsigned i = 0; i < (scene.drawn() ? 1 : moves); ++i) move(i % 2 == 0 ? 10 : -10, way);
      return;
    }
    for (unsigned i = 0; i < (scene.drawn() ? 1 : sums); ++i) {
      const std::int64_t money = sum(lane, way);
      seen.see(money);
      scene.say(lane, sentence("adds up ", money), money != total);
    }
  });
  return seen.judge();
}

// Two words, changed and read one by one.
struct pair {
  word a{total};
  word b{0};

  void move(stage& scene, std::int64_t amount, network& way) {
    scene.step(
        0, [&] { return a.add(-amount); },
        [](std::int64_t rest) { return line{sentence("A becomes ", rest)}; });
    way.travel(30, 90);
    scene.step(
        0, [&] { return b.add(amount); },
        [](std::int64_t rest) { return line{sentence("B becomes ", rest)}; });
  }
  std::int64_t sum(stage& scene, unsigned lane, network& way) {
    const std::int64_t left = scene.step(
        lane, [&] { return a.read(); },
        [](std::int64_t v) { return line{sentence("reads A: ", v)}; });
    way.travel(30, 90);
    return left + scene.step(
                      lane, [&] { return b.read(); },
                      [](std::int64_t v) { return line{sentence("reads B: ", v)}; });
  }
};

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  pair money;
  return play(
      set, scene, [&](std::int64_t amount, network& way) { money.move(scene, amount, way); },
      [&](unsigned lane, network& way) { return money.sum(scene, lane, way); });
}

inline tally transaction(const settings& set, trace* picture) {
  stage scene(picture);
  interlock::versioned<std::int64_t> a(total);
  interlock::versioned<std::int64_t> b(0);
  const auto look = [&](interlock::transaction& t, unsigned lane, bool first) {
    return scene.step(
        lane, [&] { return t.read(first ? a : b); },
        [&](std::int64_t v) { return line{sentence(first ? "reads A: " : "reads B: ", v)}; });
  };
  return play(
      set, scene,
      [&](std::int64_t amount, network& way) {
        commit(
            scene, 0,
            [&](interlock::transaction& t) {
              t.write(a, look(t, 0, true) - amount);
              way.travel(30, 90);
              t.write(b, look(t, 0, false) + amount);
              return amount;
            },
            [](std::int64_t) { return "commits A and B"; });
      },
      [&](unsigned lane, network& way) {
        return commit(
            scene, lane,
            [&](interlock::transaction& t) {
              const std::int64_t left = look(t, lane, true);
              way.travel(30, 90);
              return left + look(t, lane, false);
            },
            [](std::int64_t) { return "both were true at one moment"; });
      });
}

inline tally shared_mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::shared_mutex guard;
  pair money;
  return play(
      set, scene,
      [&](std::int64_t amount, network& way) {
        const std::lock_guard lock(guard);
        money.move(scene, amount, way);
      },
      [&](unsigned lane, network& way) {
        const std::shared_lock lock(guard);
        return money.sum(scene, lane, way);
      });
}

// Prices: reading both, while nobody writes.
inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<std::int64_t> a{total};
  std::atomic<std::int64_t> b{0};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    const std::int64_t left = a.load(std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    keep(left + b.load(std::memory_order_relaxed));
  });
}

inline double transaction_cost(unsigned threads, std::uint64_t operations) {
  interlock::versioned<std::int64_t> a(total);
  interlock::versioned<std::int64_t> b(0);
  return price(threads, operations, [&](unsigned) {
    keep(interlock::atomically([&](interlock::transaction& t) { return t.read(a) + t.read(b); }));
  });
}

inline double shared_mutex_cost(unsigned threads, std::uint64_t operations) {
  std::shared_mutex guard;
  std::int64_t a = total;
  std::int64_t b = 0;
  return price(threads, operations, [&](unsigned) {
    const std::shared_lock lock(guard);
    keep(a + b);
  });
}

inline scenario describe() {
  return {
      .name = "dirty_read",
      .story = "A reader sees half of another's change.",
      .numbers = "A and B hold 100 together; every reader must see 100",
      .unit = "sums that were never true",
      .cure = "transaction (a read-only one)",
      .moral =
          "Two reads are two moments, and a change may fall between them. A read-only transaction "
          "sees one moment: all of a commit, or none of it.",
      .forms = {
          {"naive", "read the parts one by one", role::naive, naive, naive_cost},
          {"transaction", "atomically: read both", role::fixed, transaction, transaction_cost},
          {"shared-mutex", "a reader lock around both reads",
           role::plain, shared_mutex, shared_mutex_cost},
      },
  };
}

}  // namespace lab::dirty_read
