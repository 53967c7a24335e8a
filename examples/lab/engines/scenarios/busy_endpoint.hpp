// SPDX-License-Identifier: BSL-1.0
#pragma once

// busy_endpoint on an engine: the flag, or the lock, is one of all servers.

#include "../../scenarios/busy_endpoint.hpp"
#include "../world.hpp"

namespace lab::busy_endpoint {

template <class E>
struct on {
  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    inside room;
    const row<E> locked(scene, "flag", 0);
    play(set, scene, [&](unsigned lane, network& way) {
      const std::int64_t seen = scene.step(
          lane, [&] { return locked.read(); },
          [](std::int64_t l) {
            return line{l != 0 ? "sees the flag set" : "sees the flag clear"};
          });
      if (seen != 0) return false;
      way.travel(30, 90);
      scene.step(
          lane, [&] { return locked.write(1); },
          [](std::int64_t) { return line{"sets the flag"}; });
      room.visit(scene, lane, way);
      locked.write(0);
      return true;
    });
    return room.judge();
  }

  // Returns: a guard, or none if the lock is held.
  static auto ask(const typename E::mutex& door) {
    auto answer = door.try_lock();
    using guard = typename E::mutex::guard;
    return answer.conflicted() ? std::optional<guard>()
                               : std::optional<guard>(std::move(answer).value());
  }

  static tally mutex(const settings& set, trace* picture) {
    stage scene(picture);
    inside room;
    const typename E::mutex door(client<E>(), fresh<E>("door"));
    play(set, scene, [&](unsigned lane, network& way) {
      way.travel(30, 90);
      const auto held = ask(door);
      if (held) room.visit(scene, lane, way);
      return held.has_value();
    });
    return room.judge();
  }

  // Prices: one request, alone at the door or not.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const row<E> locked(stage(nullptr), "flag", 0);
    return price(threads, operations, [&](unsigned) {
      if (locked.read() != 0) return;
      locked.write(1);
      locked.write(0);
    });
  }

  static double mutex_cost(unsigned threads, std::uint64_t operations) {
    const typename E::mutex door(client<E>(), fresh<E>("door"));
    return price(threads, operations, [&](unsigned) {
      auto held = ask(door);
      if (held) held->unlock().value();  // or busy
    });
  }

  static scenario describe() {
    scenario out = told("busy_endpoint");
    out.cure = "mutex::try_lock, of an engine";
    out.moral =
        "Between the look at the flag and its setting a second request walks in. try_lock looks "
        "and locks in one step of the engine, for all servers, and a lease ends the lock of one "
        "that dies.";
    out.forms = {
        {"naive", "SELECT the flag; if it is clear, UPDATE it", role::naive, naive, naive_cost},
        {"mutex", "if (auto held = door.try_lock()) work; else 429", role::fixed, mutex,
         mutex_cost},
    };
    return out;
  }
};

}  // namespace lab::busy_endpoint
