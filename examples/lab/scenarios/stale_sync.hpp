// SPDX-License-Identifier: BSL-1.0
#pragma once

// stale_sync - a counter is incremented in a fast store and its value written to a slow one; the
// writes overtake each other.

#include <interlock/mirror.hpp>
#include <mutex>
#include <stdexcept>

#include "../support.hpp"

namespace lab::stale_sync {

inline constexpr std::int64_t increments = 5;

// A write to the slow store takes this many microseconds to arrive.
inline constexpr std::int64_t fastest = 50;
inline constexpr std::int64_t slowest = 1200;

inline std::int64_t requests(const stage& scene) {
  return scene.drawn() ? 2 : increments;
}

// Effects: the requests arrive within a third of a millisecond, each on its own thread, and call
//          increment(lane, way).
template <class Increment>
void play(const settings& set, stage& scene, Increment increment) {
  const auto lanes = static_cast<unsigned>(requests(scene));
  for (unsigned i = 0; i < lanes; ++i) scene.name(i, sentence("request ", i + 1));
  together(lanes, [&](unsigned lane) {
    network way(set, lane);
    way.travel(0, 300);
    increment(lane, way);
  });
}

inline tally judge(const stage& scene, std::int64_t slow) {
  return {requests(scene), slow, requests(scene) - slow};
}

inline line increments_to(std::int64_t value) {
  return {sentence("increments the fast store to ", value)};
}
inline line fetches(std::int64_t latest) {
  return {sentence("fetches the latest: ", latest)};
}
inline line row_written(std::int64_t value, std::int64_t over) {
  if (over <= value) return {sentence("writes ", value, " to the slow store")};
  return {sentence("writes ", value, " over ", over, ": the slow store goes back"), true};
}

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  word fast;
  word slow;
  play(set, scene, [&](unsigned lane, network& way) {
    const std::int64_t value = scene.step(
        lane, [&] { return fast.add(1); }, increments_to);
    way.travel(fastest, slowest);
    scene.step(
        lane, [&] { return slow.write(value); },
        [&](std::int64_t over) { return row_written(value, over); });
  });
  return judge(scene, slow.read());
}

// Fetching again before the write makes the window smaller and leaves it open: between the fetch
// and the arrival of the write, another request can increment, fetch and write.
inline tally fetch_latest(const settings& set, trace* picture) {
  stage scene(picture);
  word fast;
  word slow;
  play(set, scene, [&](unsigned lane, network& way) {
    scene.step(
        lane, [&] { return fast.add(1); }, increments_to);
    way.travel(0, 20);
    const std::int64_t value = scene.step(lane, [&] { return fast.read(); }, fetches);
    way.travel(fastest, slowest);
    scene.step(
        lane, [&] { return slow.write(value); },
        [&](std::int64_t over) { return row_written(value, over); });
  });
  return judge(scene, slow.read());
}

// The requests only say that something changed. One courier fetches and writes, one write at a
// time, and what changes meanwhile goes with the next.
inline tally mirror(const settings& set, trace* picture) {
  stage scene(picture);
  word fast;
  word slow;
  const auto courier = static_cast<unsigned>(requests(scene));
  scene.name(courier, "the mirror");
  network road(set, courier);
  struct snapshot {
    std::int64_t value;
    std::int64_t version;
  };
  const auto source = [&] {
    const std::int64_t value = scene.step(courier, [&] { return fast.read(); }, fetches);
    return snapshot{value, value};  // a counter that only grows is its own version
  };
  const auto target = [&](std::int64_t value, std::int64_t) {
    road.travel(fastest, slowest);
    scene.step(
        courier, [&] { return slow.write(value); },
        [&](std::int64_t over) { return row_written(value, over); });
    return interlock::mirror_write_result::applied;
  };
  background hands;
  interlock::mirror copy(source, target, {.schedule = hands.scheduler()});
  play(set, scene, [&](unsigned lane, network&) {
    scene.step(lane, [&] { return fast.add(1); }, increments_to);
    copy.touch();
  });
  if (copy.flush() != interlock::mirror_flush_result::flushed) {
    throw std::runtime_error("the mirror could not flush");
  }
  return judge(scene, slow.read());
}

// One lock across increment and slow write: right, and every request waits for all slow writes
// before it.
inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::mutex guard;
  word fast;
  word slow;
  play(set, scene, [&](unsigned lane, network& way) {
    const std::lock_guard lock(guard);
    const std::int64_t value = scene.step(
        lane, [&] { return fast.add(1); }, increments_to);
    way.travel(fastest, slowest);
    scene.step(
        lane, [&] { return slow.write(value); },
        [&](std::int64_t over) { return row_written(value, over); });
  });
  return judge(scene, slow.read());
}

inline scenario describe() {
  return {
      .name = "stale_sync",
      .story =
          "A counter is incremented in a fast store, then its value is written to a slow one; the "
          "writes overtake each other.",
      .numbers = "5 increments; the slow store must end at 5; naive ends at 1 to 4",
      .unit = "increments that the slow store forgot",
      .cure = "mirror",
      .moral =
          "Writes that left in order do not arrive in order, and fetching the latest before the "
          "write only narrows the window. The mirror has one writer at a time, which fetches and "
          "writes, and never goes back.",
      .forms = {
          {"naive", "v = increment(); db.write(v)", role::naive, naive, nullptr},
          {"fetch-latest", "increment(); db.write(get())",
           role::still_wrong, fetch_latest, nullptr},
          {"mirror", "increment(); mirror.touch()", role::fixed, mirror, nullptr},
          {"mutex", "lock; v = increment(); db.write(v); unlock", role::plain, mutex, nullptr},
      },
  };
}

}  // namespace lab::stale_sync
