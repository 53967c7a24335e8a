// SPDX-License-Identifier: BSL-1.0
#pragma once

// busy_endpoint - only one request may be inside; the others are turned away at once.

#include <algorithm>
#include <interlock/async_mutex.hpp>
#include <mutex>

#include "../support.hpp"

namespace lab::busy_endpoint {

inline constexpr unsigned requests = 3;  // of every lane

// The endpoint's inside counts who is in it; the oracle stands at the door.
class inside {
public:
  // Effects: a request is inside for a while.
  void visit(stage& scene, unsigned lane, network& way) {
    const std::int64_t now = scene.step(
        lane, [&] { return in_.add(1); },
        [](std::int64_t n) {
          return n == 1 ? line{"is inside"} : line{sentence("is inside, as no. ", n), true};
        });
    most_.raise(now);
    if (now > 1) crowded_.add(1);
    way.travel(60, 160);
    scene.step(
        lane, [&] { return in_.add(-1); }, [](std::int64_t) { return line{"leaves"}; });
  }
  [[nodiscard]] tally judge() const { return {1, most_.read(), crowded_.read()}; }

private:
  word in_;
  word most_;
  word crowded_;
};

// Effects: every lane sends its requests: enter(lane, way) goes in or returns false: 429.
template <class Enter>
void play(const settings& set, stage& scene, Enter enter) {
  const unsigned lanes = scene.drawn() ? 2 : std::max(2U, set.threads);
  for (unsigned i = 0; i < lanes; ++i) scene.name(i, sentence("request ", i + 1));
  together(lanes, [&](unsigned lane) {
    network way(set, lane);
    for (unsigned i = 0; i < (scene.drawn() ? 1 : requests); ++i) {
      way.travel(0, 40);
      if (!enter(lane, way)) scene.say(lane, "is told 429: busy");
    }
  });
}

// A plain bool here would be a data race on top. Between its check and its set, the handler looks
// up who is calling.
inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  inside room;
  word locked;
  play(set, scene, [&](unsigned lane, network& way) {
    const std::int64_t seen = scene.step(
        lane, [&] { return locked.read(); },
        [](std::int64_t l) { return line{l != 0 ? "sees the flag set" : "sees the flag clear"}; });
    if (seen != 0) return false;
    way.travel(30, 90);
    scene.step(
        lane, [&] { return locked.write(1); }, [](std::int64_t) { return line{"sets the flag"}; });
    room.visit(scene, lane, way);
    locked.write(0);
    return true;
  });
  return room.judge();
}

// The guard may move to another thread with the handler that awaits.
inline tally async_mutex(const settings& set, trace* picture) {
  stage scene(picture);
  inside room;
  interlock::async_mutex door;
  play(set, scene, [&](unsigned lane, network& way) {
    way.travel(30, 90);
    const auto held = door.try_lock();
    if (!held) return false;
    room.visit(scene, lane, way);
    return true;
  });
  return room.judge();
}

// try_lock of a mutex is right as long as the handler stays on its thread: a mutex that one thread
// locked cannot be unlocked by another, which a handler that awaits may find itself on.
inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  inside room;
  std::mutex door;
  play(set, scene, [&](unsigned lane, network& way) {
    way.travel(30, 90);
    const std::unique_lock lock(door, std::try_to_lock);
    if (!lock) return false;
    room.visit(scene, lane, way);
    return true;
  });
  return room.judge();
}

// Prices: one request, alone at the door or not.
inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<bool> locked{false};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    if (locked.load(std::memory_order_relaxed)) return;
    // order: relaxed: the naive form in bare words; nothing is published
    locked.store(true, std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    locked.store(false, std::memory_order_relaxed);
  });
}

inline double async_mutex_cost(unsigned threads, std::uint64_t operations) {
  interlock::async_mutex door;
  return price(threads, operations, [&](unsigned) {
    const auto held = door.try_lock();
    keep(held.owns_lock());  // or busy
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex door;
  return price(threads, operations,
               [&](unsigned) { const std::unique_lock lock(door, std::try_to_lock); });
}

inline scenario describe() {
  return {
      .name = "busy_endpoint",
      .story = "Only one request may be inside; the others are turned away at once.",
      .numbers = "one inside, the rest told busy (429); naive lets in several",
      .unit = "requests inside together with another",
      .cure = "async_mutex::try_lock",
      .moral =
          "if (locked) return; locked = true; has a gap where a second request walks in. try_lock "
          "looks and locks in one step, and never waits.",
      .forms = {
          {"naive", "if (locked) return 429; locked = true", role::naive, naive, naive_cost},
          {"async_mutex", "if (auto held = door.try_lock()) work; else 429",
           role::fixed, async_mutex, async_mutex_cost},
          {"mutex", "std::mutex::try_lock, on one thread", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::busy_endpoint
