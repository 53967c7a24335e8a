// SPDX-License-Identifier: BSL-1.0
#pragma once

// fifty_clicks - 50 users hit an increment endpoint at once.

#include <mutex>

#include "../support.hpp"

namespace lab::fifty_clicks {

inline constexpr std::int64_t start = 100;
inline constexpr std::int64_t clicks = 50;

// Effects: deals out the clicks to the lanes and calls click(lane, way, stage) for each.
template <class Click>
void play(const settings& set, trace* picture, Click click) {
  stage scene(picture);
  const unsigned lanes = scene.drawn() ? 3 : set.threads;
  const std::int64_t all = scene.drawn() ? 3 : clicks;
  for (unsigned i = 0; i < lanes; ++i) scene.name(i, "request " + std::to_string(i + 1));
  together(lanes, [&](unsigned lane) {
    network way(set, lane);
    for (std::int64_t i = lane; i < all; i += lanes) click(lane, way, scene);
  });
}

inline tally judge(trace* picture, std::int64_t got) {
  const std::int64_t expected = start + (picture != nullptr ? 3 : clicks);
  return {expected, got, expected - got};
}

// The handler looks up the user between its read and its write.
inline tally naive(const settings& set, trace* picture) {
  word count(start);
  play(set, picture, [&](unsigned lane, network& way, stage& scene) {
    const std::int64_t seen = scene.step(
        lane, [&] { return count.read(); },
        [](std::int64_t v) { return line{"reads " + std::to_string(v)}; });
    way.travel();
    scene.step(
        lane, [&] { return count.write(seen + 1); },
        [&](std::int64_t over) {
          const bool lost = over != seen;
          return line{"writes " + std::to_string(seen + 1) +
                          (lost ? " over " + std::to_string(over) : ""),
                      lost};
        });
  });
  return judge(picture, count.read());
}

inline tally mutex(const settings& set, trace* picture) {
  std::mutex guard;
  std::int64_t count = start;
  play(set, picture, [&](unsigned lane, network& way, stage& scene) {
    way.travel();
    scene.step(
        lane,
        [&] {
          const std::lock_guard lock(guard);
          return ++count;
        },
        [](std::int64_t v) { return line{"adds 1 under the lock: " + std::to_string(v)}; });
  });
  return judge(picture, count);
}

inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<std::int64_t> count{start};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    const std::int64_t seen = count.load(std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    count.store(seen + 1, std::memory_order_relaxed);
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  std::int64_t count = start;
  return price(threads, operations, [&](unsigned) {
    const std::lock_guard lock(guard);
    keep(++count);
  });
}

inline scenario describe() {
  return {
      "fifty_clicks",
      "50 users hit an increment endpoint at once.",
      "start 100, 50 clicks, expect 150; naive ends anywhere down to 101",
      "clicks",
      "counter, striped_counter",
      "Whoever writes back what he read before erases every click that came in between. An "
      "addition that is one step has no between.",
      {
          {"naive", "load, add one, store", role::naive, naive, naive_cost},
          {"mutex", "lock, add one, unlock", role::plain, mutex, mutex_cost},
      }};
}

}  // namespace lab::fifty_clicks
