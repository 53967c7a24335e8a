// SPDX-License-Identifier: BSL-1.0
#pragma once

// fifty_clicks - 50 users hit an increment endpoint at once.

#include <interlock/counter.hpp>
#include <interlock/striped_counter.hpp>
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
  for (unsigned i = 0; i < lanes; ++i) scene.name(i, sentence("request ", i + 1));
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
template <class Count>
tally read_then_write(const settings& set, trace* picture, Count& count) {
  play(set, picture, [&](unsigned lane, network& way, stage& scene) {
    const std::int64_t seen = scene.step(
        lane, [&] { return count.read(); }, reads);
    way.travel();
    scene.step(
        lane, [&] { return count.write(seen + 1); },
        [&](std::int64_t over) { return writes_back(seen + 1, seen, over); });
  });
  return judge(picture, count.read());
}

inline tally naive(const settings& set, trace* picture) {
  word count(start);
  return read_then_write(set, picture, count);
}

// The addition is one step: there is nothing to come in between.
inline tally counter(const settings& set, trace* picture) {
  interlock::counter count(start);
  play(set, picture, [&](unsigned lane, network& way, stage& scene) {
    way.travel();
    scene.step(
        lane, [&] { return count.add(1); },
        [](std::int64_t sum) { return line{sentence("adds 1: ", sum)}; });
  });
  return judge(picture, count.load());
}

inline tally striped_counter(const settings& set, trace* picture) {
  interlock::striped_counter count(start);
  play(set, picture, [&](unsigned lane, network& way, stage& scene) {
    way.travel();
    scene.step(
        lane, [&] { return count.add(1), count.load(); },
        [](std::int64_t sum) { return line{sentence("adds 1: ", sum)}; });
  });
  return judge(picture, count.load_exact());
}

inline tally mutex(const settings& set, trace* picture) {
  std::mutex guard;
  std::int64_t count = start;
  play(set, picture, [&](unsigned lane, network& way, stage& scene) {
    way.travel();
    const std::lock_guard lock(guard);
    scene.step(
        lane, [&] { return ++count; },
        [](std::int64_t sum) { return line{sentence("adds 1 under the lock: ", sum)}; });
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

inline double counter_cost(unsigned threads, std::uint64_t operations) {
  interlock::counter count(start);
  return price(threads, operations, [&](unsigned) { ++count; });
}

inline double striped_counter_cost(unsigned threads, std::uint64_t operations) {
  interlock::striped_counter count(start);
  return price(threads, operations, [&](unsigned) { ++count; });
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
      .name = "fifty_clicks",
      .story = "50 users hit an increment endpoint at once.",
      .numbers = "start 100, 50 clicks, expect 150; naive ends anywhere down to 101",
      .unit = "clicks",
      .cure = "counter, striped_counter",
      .moral =
          "Whoever writes back what he read before erases every click that came in between. An "
          "addition that is one step has no between.",
      .forms = {
          {"naive", "load, add one, store", role::naive, naive, naive_cost},
          {"counter", "count.add(1)", role::fixed, counter, counter_cost},
          {"striped_counter", "count.add(1), a word per processor",
           role::fixed, striped_counter, striped_counter_cost},
          {"mutex", "lock, add one, unlock", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::fifty_clicks
