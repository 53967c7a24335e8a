// SPDX-License-Identifier: BSL-1.0
#pragma once

// deadlock - two locks taken in opposite orders.

#include <array>
#include <cstdlib>
#include <interlock/lock_all.hpp>
#include <interlock/versioned.hpp>
#include <mutex>

#include "../commit.hpp"
#include "../support.hpp"

namespace lab::deadlock {

inline constexpr std::int64_t transfers = 2;  // A to B, and B to A

// Effects: two requests call move(lane, way) at once; it returns whether it came through.
// Returns: how many came through.
template <class Move>
std::int64_t play(const settings& set, stage& scene, Move move) {
  word done;
  scene.name(0, "A to B");
  scene.name(1, "B to A");
  together(2, [&](unsigned lane) {
    network way(set, lane);
    if (!move(lane, way)) return;
    done.add(1);
    scene.say(lane, "is through");
  });
  return done.read();
}

inline tally judge(std::int64_t done) {
  return {transfers, done, transfers - done};
}

inline const char* account(unsigned lane) {
  return lane == 0 ? "A" : "B";
}

// The real thing would hang for good; here, the first to notice the circle gives up, and both count
// as stuck. A request that waits holds its first lock, so two that wait are a circle.
inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  std::array<lockable, 2> guard;
  std::array<word, 2> waits;
  word circle;
  return judge(play(set, scene, [&](unsigned lane, network& way) {
    const unsigned other = 1 - lane;
    const std::lock_guard first(guard[lane]);
    scene.say(lane, sentence("locks ", account(lane)));
    way.travel(40, 120);
    scene.step(
        lane, [&] { return waits[lane].write(1), waits[other].read(); },
        [&](std::int64_t both) {
          const char* const end = both != 0 ? ", in a circle" : "";
          return line{sentence("waits for ", account(other), end), both != 0};
        });
    if (lock_unless_stuck(guard[other], waits[other])) {
      guard[other].unlock();
    } else {
      circle.write(1);
      scene.say(lane, "gives up, for the show: a lock waits for good");
    }
    waits[lane].write(0);
    return circle.read() == 0;
  }));
}

// Whatever order they are named in, they are locked in one. Requests that are coroutines write
// co_await lock_all(a, b), and hold both across their awaits.
inline tally lock_all(const settings& set, trace* picture) {
  stage scene(picture);
  std::array<interlock::async_mutex, 2> guard;
  return judge(play(set, scene, [&](unsigned lane, network& way) {
    const auto both = interlock::lock_all_blocking(guard[lane], guard[1 - lane]);
    if (!both) return false;
    scene.say(lane, "locks both");
    way.travel(40, 120);
    return true;
  }));
}

// Takes no lock that anybody could wait for while it waits: the slower transaction begins anew.
inline tally transaction(const settings& set, trace* picture) {
  using cell = interlock::versioned<std::int64_t>;
  stage scene(picture);
  std::array<cell, 2> balance{cell(100), cell(100)};
  const std::int64_t done = play(set, scene, [&](unsigned lane, network& way) {
    const auto change = [&](interlock::transaction& t, unsigned which, std::int64_t amount) {
      const std::int64_t seen = scene.step(
          lane, [&] { return t.read(balance[which]); },
          [&](std::int64_t v) { return line{sentence("reads ", account(which), ": ", v)}; });
      t.write(balance[which], seen + amount);
    };
    return commit(
        scene, lane,
        [&](interlock::transaction& t) {
          change(t, lane, -10);
          way.travel(40, 120);
          change(t, 1 - lane, 10);
          return true;
        },
        [](bool) { return "commits both"; });
  });
  tally end = judge(done);
  for (const cell& one : balance) end.lost += std::abs(one.load().value - 100);
  return end;
}

inline tally scoped_lock(const settings& set, trace* picture) {
  stage scene(picture);
  std::array<std::mutex, 2> guard;
  return judge(play(set, scene, [&](unsigned lane, network& way) {
    const std::scoped_lock both(guard[lane], guard[1 - lane]);
    scene.say(lane, "locks both");
    way.travel(40, 120);
    return true;
  }));
}

// Prices: both balances change.
inline double lock_all_cost(unsigned threads, std::uint64_t operations) {
  std::array<interlock::async_mutex, 2> guard;
  std::array<std::int64_t, 2> balance{};
  return price(threads, operations, [&](unsigned lane) {
    const std::size_t mine = lane % 2;
    const auto both = interlock::lock_all_blocking(guard[mine], guard[1 - mine]);
    if (!both) return;
    keep(--balance[mine]);
    keep(++balance[1 - mine]);
  });
}

inline double transaction_cost(unsigned threads, std::uint64_t operations) {
  interlock::versioned<std::int64_t> a(0);
  interlock::versioned<std::int64_t> b(0);
  return price(threads, operations, [&](unsigned lane) {
    const bool forth = lane % 2 == 0;
    interlock::atomically([&](interlock::transaction& t) {
      t.update(forth ? a : b, [](std::int64_t& money) { --money; });
      t.update(forth ? b : a, [](std::int64_t& money) { ++money; });
    });
  });
}

inline double scoped_lock_cost(unsigned threads, std::uint64_t operations) {
  std::array<std::mutex, 2> guard;
  std::array<std::int64_t, 2> balance{};
  return price(threads, operations, [&](unsigned lane) {
    const std::size_t mine = lane % 2;
    const std::scoped_lock both(guard[mine], guard[1 - mine]);
    keep(--balance[mine]);
    keep(++balance[1 - mine]);
  });
}

inline scenario describe() {
  return {
      .name = "deadlock",
      .story = "Two locks are taken in opposite orders.",
      .numbers = "two transfers, A to B and B to A; both must come through",
      .unit = "requests stuck for good",
      .cure = "lock_all; or a transaction, which has no lock whose order could be wrong",
      .moral =
          "Each holds what the other one waits for. Where all lock in one order, or nobody holds "
          "a lock while it asks for the next one, there is no circle.",
      .forms = {
          {"naive", "lock mine, then lock yours", role::naive, naive, nullptr},
          {"lock_all", "lock_all of both, across awaits too", role::fixed, lock_all, lock_all_cost},
          {"transaction", "atomically: change mine, change yours",
           role::fixed, transaction, transaction_cost},
          {"scoped_lock", "std::scoped_lock of both", role::plain, scoped_lock, scoped_lock_cost},
      },
  };
}

}  // namespace lab::deadlock
