// SPDX-License-Identifier: BSL-1.0
#pragma once

// interleaved_awaits - one thread only, yet two handlers interleave at their co_awaits.

#include <interlock/async_mutex.hpp>
#include <utility>

#include "../event_loop.hpp"

namespace lab::interleaved_awaits {

inline constexpr std::int64_t start = 100;

// The handlers of a round, on one thread.
struct round {
  stage& scene;
  event_loop loop;
  dice chance;
  interlock::async_mutex door;
  std::int64_t count = start;  // plain: no second thread exists

  round(const settings& set, stage& drawn_on) : scene(drawn_on), chance(set.seed, 0) {}
};

inline unsigned handlers(const stage& scene) {
  return scene.drawn() ? 2 : 50;
}

inline tally judge(const round& end) {
  const std::int64_t expected = start + handlers(end.scene);
  return {expected, end.count, expected - end.count};
}

inline event_loop::handler naive_handler(round& r, unsigned lane) {
  const std::int64_t seen = r.scene.step(
      lane, [&] { return r.count; }, reads);
  co_await r.loop.travel(r.chance);
  r.scene.step(
      lane, [&] { return std::exchange(r.count, seen + 1); },
      [&](std::int64_t over) { return writes_back(seen + 1, seen, over); });
}

// Holds the mutex across the await. The thread is never blocked: the others wait, suspended.
inline event_loop::handler locked_handler(round& r, unsigned lane) {
  const auto held = co_await r.door.lock();
  const std::int64_t seen = r.scene.step(
      lane, [&] { return r.count; }, reads);
  co_await r.loop.travel(r.chance);
  r.scene.step(
      lane, [&] { return std::exchange(r.count, seen + 1); },
      [&](std::int64_t over) { return writes_back(seen + 1, seen, over); });
}

// Effects: starts the handlers and runs the loop until all have ended.
template <class Handler>
tally play(const settings& set, trace* picture, Handler start_handler) {
  stage scene(picture);
  round r(set, scene);
  for (unsigned i = 0; i < handlers(scene); ++i) {
    scene.name(i, sentence("handler ", i + 1));
    start_handler(r, i);
  }
  r.loop.run();
  return judge(r);
}

inline tally naive(const settings& set, trace* picture) {
  return play(set, picture, [](round& r, unsigned lane) { naive_handler(r, lane); });
}

inline tally async_mutex(const settings& set, trace* picture) {
  return play(set, picture, [](round& r, unsigned lane) { locked_handler(r, lane); });
}

inline scenario describe() {
  return {
      .name = "interleaved_awaits",
      .story = "One thread only, yet two handlers interleave at their co_awaits.",
      .numbers = "start 100, 50 handlers on one thread, expect 150; naive ends at 101",
      .unit = "updates",
      .cure = "async_mutex, held across the await",
      .moral =
          "One thread saves you from data races, not from this: every co_await lets another "
          "handler in. An async_mutex may be held across the await, and the thread goes on "
          "working meanwhile.",
      .forms = {
          {"naive", "read, co_await, write", role::naive, naive, nullptr},
          {"async_mutex", "co_await lock, read, co_await, write, unlock",
           role::fixed, async_mutex, nullptr},
      },
  };
}

}  // namespace lab::interleaved_awaits
