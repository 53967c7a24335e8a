// SPDX-License-Identifier: BSL-1.0
#pragma once

// stale_sync on an engine: both stores are there, a counter and the row that its value is written
// to.

#include "../../scenarios/stale_sync.hpp"
#include "../world.hpp"

namespace lab::stale_sync {

// The slow store is far away: the time until a write arrives differs by more than a write takes.
inline constexpr std::int64_t farthest = 20'000;

template <class E>
struct on {
  using target = typename E::template mirror_target<std::int64_t, std::int64_t>;
  static constexpr std::int64_t key = 1;

  // Both stores. The way to the slow one takes its time.
  struct stores {
    typename E::counter fast;
    row<E> slow;

    explicit stores(const stage& scene) : fast(counter_at<E>(0, "fast")), slow(scene, "slow", 0) {}

    std::int64_t increment(stage& scene, unsigned lane) const {
      return scene.step(
          lane, [&] { return fast.add(1).value(); }, increments_to);
    }
    void write(stage& scene, unsigned lane, network& way, std::int64_t value) const {
      way.travel(fastest, farthest);
      scene.step(
          lane, [&] { return slow.write(value); },
          [&](std::int64_t over) { return row_written(value, over); });
    }
  };

  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const stores both(scene);
    play(set, scene, [&](unsigned lane, network& way) {
      const std::int64_t value = both.increment(scene, lane);
      both.write(scene, lane, way, value);
    });
    return judge(scene, both.slow.read());
  }

  // Fetching again before the write makes the window smaller and leaves it open.
  static tally fetch_latest(const settings& set, trace* picture) {
    stage scene(picture);
    const stores both(scene);
    play(set, scene, [&](unsigned lane, network& way) {
      both.increment(scene, lane);
      way.travel(0, 20);
      const std::int64_t value = scene.step(
          lane, [&] { return both.fast.load().value(); }, fetches);
      both.write(scene, lane, way, value);
    });
    return judge(scene, both.slow.read());
  }

  static std::int64_t value_of(const target& slow) {
    return slow.get(key).value().value.value_or(0);
  }

  // UPDATE ... WHERE version < the new one: the row never goes back, whatever arrives when.
  static tally put_if_newer(const settings& set, trace* picture) {
    stage scene(picture);
    const auto fast = counter_at<E>(0, "fast");
    const target slow(client<E>(), fresh<E>("slow"));
    play(set, scene, [&](unsigned lane, network& way) {
      const std::int64_t value = fast.add(1).value();
      scene.say(lane, increments_to(value).text);
      way.travel(fastest, farthest);
      const auto answer = slow.put_if_newer(key, {0, static_cast<std::uint64_t>(value)}, value);
      if (!answer.conflicted()) static_cast<void>(answer.value());
      scene.say(lane, answer.applied() ? sentence("writes ", value)
                                       : sentence("is refused: ", value, " is history"));
    });
    return judge(scene, value_of(slow));
  }

  // The mirror of this process in front: one write at a time, which many increments share.
  static tally mirror(const settings& set, trace* picture) {
    stage scene(picture);
    const auto fast = counter_at<E>(0, "fast");
    const target slow(client<E>(), fresh<E>("slow"));
    struct snapshot {
      std::int64_t value;
      std::uint64_t version;
    };
    const auto source = [&] {
      const std::int64_t value = fast.load().value();
      return snapshot{value, static_cast<std::uint64_t>(value)};
    };
    interlock::mirror copy(source, slow.row_of(key));
    play(set, scene, [&](unsigned lane, network&) {
      scene.say(lane, increments_to(fast.add(1).value()).text);
      copy.touch();
    });
    if (copy.flush() != interlock::mirror_flush_result::flushed) {
      throw std::runtime_error("the mirror could not flush");
    }
    return judge(scene, value_of(slow));
  }

  // Prices: an increment, and its write.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const stores both{stage(nullptr)};
    return price(threads, operations, [&](unsigned) { both.slow.write(both.fast.add(1).value()); });
  }

  static double put_if_newer_cost(unsigned threads, std::uint64_t operations) {
    const auto fast = counter_at<E>(0, "fast");
    const target slow(client<E>(), fresh<E>("slow"));
    return price(threads, operations, [&](unsigned) {
      const std::int64_t value = fast.add(1).value();
      const auto answer = slow.put_if_newer(key, {0, static_cast<std::uint64_t>(value)}, value);
      if (!answer.conflicted()) static_cast<void>(answer.value());
    });
  }

  static scenario describe() {
    scenario out = told("stale_sync");
    out.cure = "mirror_target, and mirror in front of it";
    out.moral =
        "Writes that left in order do not arrive in order, and fetching the latest before the "
        "write only narrows the window. A target that compares versions where the write lands "
        "never goes back.";
    out.forms = {
        {"naive", "v = counter.add(1); UPDATE row SET value = v", role::naive, naive, naive_cost},
        {"fetch-latest", "counter.add(1); UPDATE row SET value = counter.load()", role::still_wrong,
         fetch_latest, nullptr},
        {"mirror_target", "v = counter.add(1); target.put_if_newer(key, v, v)", role::fixed,
         put_if_newer, put_if_newer_cost},
        {"mirror", "counter.add(1); mirror.touch(), in front of the target", role::fixed, mirror,
         nullptr},
    };
    return out;
  }
};

}  // namespace lab::stale_sync
