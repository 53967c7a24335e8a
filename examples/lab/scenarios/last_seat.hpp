// SPDX-License-Identifier: BSL-1.0
#pragma once

// last_seat - one seat, several buyers, all saw it free.

#include <algorithm>
#include <cstdlib>
#include <interlock/bounded_counter.hpp>
#include <interlock/versioned.hpp>
#include <mutex>

#include "../commit.hpp"
#include "../support.hpp"

namespace lab::last_seat {

inline constexpr std::int64_t fare = 30;

// Effects: N buyers call buy(lane, way) at once; it returns whether the seat is theirs.
// Returns: the tickets sold.
template <class Buy>
std::int64_t play(const settings& set, stage& scene, Buy buy) {
  const unsigned buyers = scene.drawn() ? 2 : std::max(2U, set.threads);
  word tickets;
  for (unsigned i = 0; i < buyers; ++i) scene.name(i, sentence("buyer ", i + 1));
  together(buyers, [&](unsigned lane) {
    network way(set, lane);
    if (buy(lane, way)) {
      tickets.add(1);
    } else {
      scene.say(lane, "leaves without a ticket");
    }
  });
  return tickets.read();
}

inline tally judge(std::int64_t sold) {
  return {1, sold, std::abs(sold - 1)};
}

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  word free(1);
  return judge(play(set, scene, [&](unsigned lane, network& way) {
    const std::int64_t seen = scene.step(
        lane, [&] { return free.read(); },
        [](std::int64_t seats) { return line{seats > 0 ? "sees the seat free" : "sees it sold"}; });
    if (seen == 0) return false;
    way.travel(60, 160);  // pays
    scene.step(
        lane, [&] { return free.write(0); },
        [](std::int64_t over) {
          return over > 0 ? line{"pays and marks it sold"} : line{"pays and sells it again", true};
        });
    return true;
  }));
}

inline tally bounded_counter(const settings& set, trace* picture) {
  stage scene(picture);
  interlock::bounded_counter free(1, 0, 1);
  return judge(play(set, scene, [&](unsigned lane, network& way) {
    const bool mine = scene.step(
        lane, [&] { return free.try_sub(1); },
        [](bool taken) { return line{taken ? "takes the seat" : "finds it taken"}; });
    if (mine) way.travel(60, 160);
    return mine;
  }));
}

// The seat, the money and the order change together: nobody pays without a seat, and no seat is
// gone without money.
inline tally transaction(const settings& set, trace* picture) {
  stage scene(picture);
  interlock::versioned<std::int64_t> free(1);
  interlock::versioned<std::int64_t> till(0);
  interlock::versioned<std::int64_t> orders(0);
  const std::int64_t sold = play(set, scene, [&](unsigned lane, network& way) {
    return commit(
        scene, lane,
        [&](interlock::transaction& t) {
          const std::int64_t seen = scene.step(
              lane, [&] { return t.read(free); },
              [](std::int64_t n) { return line{n > 0 ? "sees the seat free" : "sees it sold"}; });
          if (seen == 0) return false;
          way.travel(20, 60);
          t.write(free, 0);
          t.update(till, [](std::int64_t& money) { money += fare; });
          t.update(orders, [](std::int64_t& count) { ++count; });
          return true;
        },
        [](bool mine) { return mine ? "commits seat, money and order" : "has nothing to commit"; });
  });
  tally end = judge(sold);
  end.lost += std::abs(till.load().value - fare * sold) + std::abs(orders.load().value - sold);
  return end;
}

inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::mutex guard;
  bool free = true;
  return judge(play(set, scene, [&](unsigned lane, network& way) {
    std::unique_lock lock(guard);
    const bool mine = std::exchange(free, false);
    scene.say(lane, mine ? "takes the seat" : "finds it taken");
    lock.unlock();
    if (mine) way.travel(60, 160);
    return mine;
  }));
}

// Prices: a seat is taken and given back.
inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<int> free{1};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    if (free.load(std::memory_order_relaxed) == 0) return;
    // order: relaxed: the naive form in bare words; nothing is published
    free.store(0, std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    free.store(1, std::memory_order_relaxed);
  });
}

inline double bounded_counter_cost(unsigned threads, std::uint64_t operations) {
  interlock::bounded_counter free(1, 0, 1);
  return price(threads, operations, [&](unsigned) {
    if (free.try_sub(1)) keep(free.try_add(1));
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  bool free = true;
  return price(threads, operations, [&](unsigned) {
    bool mine = false;
    {
      const std::lock_guard lock(guard);
      mine = std::exchange(free, false);
    }
    if (mine) {
      const std::lock_guard lock(guard);
      free = true;
    }
  });
}

inline scenario describe() {
  return {
      .name = "last_seat",
      .story = "One seat, several buyers, and all of them saw it free.",
      .numbers = "1 seat, N buyers: exactly one sale; naive sells it up to N times",
      .unit = "tickets sold for a taken seat",
      .cure = "bounded_counter, or a transaction when seat, money and order must change together",
      .moral =
          "Seeing the seat free is not having it. Taking it must be the same step as checking it.",
      .forms = {
          {"naive", "check, pay, mark sold", role::naive, naive, naive_cost},
          {"bounded_counter", "if (seats.try_sub(1)) pay",
           role::fixed, bounded_counter, bounded_counter_cost},
          {"transaction", "atomically: check; seat, money and order",
           role::fixed, transaction, nullptr},
          {"mutex", "check and mark sold under one lock", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::last_seat
