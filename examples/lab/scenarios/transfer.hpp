// SPDX-License-Identifier: BSL-1.0
#pragma once

// transfer - money leaves A and must arrive at B, or nothing happened; also when a step throws
// half-way.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <interlock/versioned.hpp>
#include <mutex>
#include <stdexcept>

#include "../commit.hpp"
#include "../support.hpp"

namespace lab::transfer {

inline constexpr std::size_t accounts = 4;
inline constexpr std::int64_t each = 100;
inline constexpr std::int64_t total = each * static_cast<std::int64_t>(accounts);
inline constexpr unsigned orders = 4;  // of every lane

// The receiving bank says no, after the money has left.
struct refused : std::runtime_error {
  refused() : std::runtime_error("the receiving bank refuses") {}
};

inline const char* name(std::size_t account) {
  return account == 0 ? "A" : "B";
}

struct order {
  std::size_t from = 0;
  std::size_t to = 1;
  std::int64_t amount = 10;
  bool fails = false;

  // Effects: the half-way call to the receiving bank.
  // Throws: refused.
  void ask_receiver(stage& scene, unsigned lane, network& way) const {
    way.travel(10, 60);
    if (!fails) return;
    scene.say(lane, "the receiving bank refuses: an exception");
    throw refused();
  }
};

inline order draw(dice& chance) {
  order drawn;
  drawn.from = static_cast<std::size_t>(chance.roll(0, accounts - 1));
  drawn.to = (drawn.from + static_cast<std::size_t>(chance.roll(1, accounts - 1))) % accounts;
  drawn.amount = chance.roll(1, 30);
  drawn.fails = chance.roll(0, 3) == 0;
  return drawn;
}

// Effects: the lanes call move(lane, order, way) for their orders, and one more lane, the audit,
//          calls sum() until they are done.
// Returns: the sum that was farthest from the right one.
template <class Move, class Sum>
std::int64_t play(const settings& set, stage& scene, Move move, Sum sum) {
  const unsigned lanes = scene.drawn() ? 2 : set.threads;
  std::int64_t worst = total;
  word running(lanes);
  const auto audit = [&] {
    const std::int64_t seen = sum();
    scene.say(lanes, sentence("the sum is ", seen), seen != total);
    if (std::abs(seen - total) > std::abs(worst - total)) worst = seen;
  };
  const auto lane_of_orders = [&](unsigned lane) {
    network way(set, lane);
    for (unsigned i = 0; i < (scene.drawn() ? 1 : orders); ++i) {
      const order next = scene.drawn() ? order{lane, 1 - lane, lane == 0 ? 30 : 10, lane == 0}
                                       : draw(way.chance());
      try {
        move(lane, next, way);
      } catch (const refused&) {
        continue;
      }
    }
    running.add(-1);
  };
  scene.name(0, "30 from A to B");
  scene.name(1, "10 from B to A");
  scene.name(2, "audit");
  together(lanes + 1, [&](unsigned lane) {
    if (lane < lanes) return lane_of_orders(lane);
    if (scene.drawn()) return;  // one audit at the end makes a clearer picture
    network way(set, lane);
    while (running.read() > 0) {
      audit();
      way.travel(50, 150);
    }
  });
  audit();
  return worst;
}

inline tally judge(std::int64_t worst) {
  return {total, worst, std::abs(worst - total)};
}

struct bank {
  std::array<word, accounts> balance{word(each), word(each), word(each), word(each)};

  [[nodiscard]] std::int64_t sum() const {
    std::int64_t money = 0;
    for (const word& one : balance) money += one.read();
    return money;
  }
  // Effects: one half of a transfer.
  void change(stage& scene, unsigned lane, std::size_t account, std::int64_t amount) {
    scene.step(
        lane, [&] { return balance[account].add(amount); },
        [&](std::int64_t now) {
          const char* const what = amount < 0 ? "takes " : "adds ";
          return line{sentence(what, std::abs(amount), ", ", name(account), " has ", now)};
        });
  }
};

// Two updates, each of them atomic, and time between them.
inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  bank money;
  const auto move = [&](unsigned lane, const order& next, network& way) {
    money.change(scene, lane, next.from, -next.amount);
    next.ask_receiver(scene, lane, way);
    money.change(scene, lane, next.to, next.amount);
  };
  return judge(play(set, scene, move, [&] { return money.sum(); }));
}

// A lock keeps others out; it takes nothing back.
inline tally lock_alone(const settings& set, trace* picture) {
  stage scene(picture);
  lockable guard;
  bank money;
  const auto move = [&](unsigned lane, const order& next, network& way) {
    const std::lock_guard held(guard);
    money.change(scene, lane, next.from, -next.amount);
    next.ask_receiver(scene, lane, way);
    money.change(scene, lane, next.to, next.amount);
  };
  return judge(play(set, scene, move, [&] {
    const std::lock_guard held(guard);
    return money.sum();
  }));
}

// A transaction takes effect whole or not at all, whoever looks and whatever is thrown.
inline tally transaction(const settings& set, trace* picture) {
  using account = interlock::versioned<std::int64_t>;
  stage scene(picture);
  std::array<account, accounts> balance{account(each), account(each), account(each), account(each)};
  const auto move = [&](unsigned lane, const order& next, network& way) {
    commit(
        scene, lane,
        [&](interlock::transaction& t) {
          const std::int64_t left = scene.step(
              lane, [&] { return t.read(balance[next.from]); },
              [&](std::int64_t v) { return line{sentence("reads ", name(next.from), ": ", v)}; });
          t.write(balance[next.from], left - next.amount);
          next.ask_receiver(scene, lane, way);
          t.update(balance[next.to], [&](std::int64_t& money) { money += next.amount; });
          return left - next.amount;
        },
        [&](std::int64_t left) { return sentence("commits: ", name(next.from), " has ", left); });
  };
  return judge(play(set, scene, move, [&] {
    return interlock::atomically([&](interlock::transaction& t) {
      std::int64_t money = 0;
      for (const account& one : balance) money += t.read(one);
      return money;
    });
  }));
}

// Right, as long as everybody remembers to undo by hand.
inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::mutex guard;
  bank money;
  const auto move = [&](unsigned lane, const order& next, network& way) {
    const std::lock_guard lock(guard);
    money.change(scene, lane, next.from, -next.amount);
    try {
      next.ask_receiver(scene, lane, way);
    } catch (...) {
      money.change(scene, lane, next.from, next.amount);
      throw;
    }
    money.change(scene, lane, next.to, next.amount);
  };
  return judge(play(set, scene, move, [&] {
    const std::lock_guard lock(guard);
    return money.sum();
  }));
}

// Prices: a transfer between two accounts, nothing fails.
inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::array<std::atomic<std::int64_t>, 2> balance{};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    balance[0].fetch_sub(1, std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    balance[1].fetch_add(1, std::memory_order_relaxed);
  });
}

inline double transaction_cost(unsigned threads, std::uint64_t operations) {
  interlock::versioned<std::int64_t> a(0);
  interlock::versioned<std::int64_t> b(0);
  return price(threads, operations, [&](unsigned) {
    interlock::atomically([&](interlock::transaction& t) {
      t.update(a, [](std::int64_t& money) { --money; });
      t.update(b, [](std::int64_t& money) { ++money; });
    });
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::array<std::mutex, 2> guard;
  std::array<std::int64_t, 2> balance{};
  return price(threads, operations, [&](unsigned) {
    const std::scoped_lock lock(guard[0], guard[1]);
    keep(--balance[0]);
    keep(++balance[1]);
  });
}

inline scenario describe() {
  return {
      .name = "transfer",
      .story = "Money leaves A and must arrive at B, or nothing happened.",
      .numbers = "4 accounts of 100; the sum stays 400, also when a step throws half-way",
      .unit = "money missing from the sum (the largest difference an audit saw)",
      .cure = "transaction (atomically)",
      .moral =
          "Two right steps are not one right change: an exception or a reader fits between them. "
          "A transaction commits whole, or its exception leaves nothing behind.",
      .forms = {
          {"naive", "take from A, ask B's bank, add to B", role::naive, naive, naive_cost},
          {"lock-alone", "lock, take, ask, add, unlock", role::still_wrong, lock_alone, nullptr},
          {"transaction", "atomically: take, ask, add", role::fixed, transaction, transaction_cost},
          {"mutex", "lock, take, ask, add or undo by hand, unlock", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::transfer
