// SPDX-License-Identifier: BSL-1.0
#pragma once

// withdrawal - two requests pass the same balance check.

#include <cstdlib>
#include <interlock/bounded_counter.hpp>
#include <mutex>

#include "../support.hpp"

namespace lab::withdrawal {

inline constexpr std::int64_t start = 100;
inline constexpr std::int64_t amount = 80;  // one of two must be refused

// Effects: two requests call withdraw(lane, way, scene) at once; it returns whether it pays.
// Returns: the money handed out.
template <class Withdraw>
std::int64_t play(const settings& set, stage& scene, Withdraw withdraw) {
  word handed_out;
  scene.name(0, "request 1");
  scene.name(1, "request 2");
  together(2, [&](unsigned lane) {
    network way(set, lane);
    if (withdraw(lane, way)) {
      handed_out.add(amount);
    } else {
      scene.say(lane, "is refused");
    }
  });
  return handed_out.read();
}

// The oracle counts the money that left, not only the balance that stayed.
inline tally judge(std::int64_t handed_out, std::int64_t balance) {
  const std::int64_t beyond = handed_out - start;
  const std::int64_t books = start - handed_out - balance;
  return {amount, handed_out,
          beyond > 0 ? beyond : std::abs(amount - handed_out) + std::abs(books)};
}

// Check what was read, and write back what is left of it.
template <class Balance>
tally check_then_write(const settings& set, stage& scene, Balance& balance) {
  const std::int64_t out = play(set, scene, [&](unsigned lane, network& way) {
    const std::int64_t seen = scene.step(
        lane, [&] { return balance.read(); }, reads);
    if (seen < amount) return false;
    way.travel(60, 160);  // the payment is approved elsewhere
    scene.step(
        lane, [&] { return balance.write(seen - amount); },
        [&](std::int64_t over) { return writes_back(seen - amount, seen, over); });
    return true;
  });
  return judge(out, balance.read());
}

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  word balance(start);
  return check_then_write(set, scene, balance);
}

// The subtraction is one step now, and the check still is another.
inline tally atomic_subtract(const settings& set, trace* picture) {
  stage scene(picture);
  word balance(start);
  const std::int64_t out = play(set, scene, [&](unsigned lane, network& way) {
    const std::int64_t seen = scene.step(
        lane, [&] { return balance.read(); }, reads);
    if (seen < amount) return false;
    way.travel(60, 160);
    scene.step(
        lane, [&] { return balance.add(-amount); },
        [](std::int64_t rest) {
          return line{sentence("subtracts 80: ", rest, " is left"), rest < 0};
        });
    return true;
  });
  return judge(out, balance.read());
}

inline tally bounded_counter(const settings& set, trace* picture) {
  stage scene(picture);
  interlock::bounded_counter balance(start, 0, 1'000);
  const std::int64_t out = play(set, scene, [&](unsigned lane, network& way) {
    const bool enough = scene.step(
        lane, [&] { return balance.try_sub(amount); },
        [](bool taken) { return line{taken ? "takes 80: 20 is left" : "finds too little"}; });
    if (enough) way.travel(60, 160);
    return enough;
  });
  return judge(out, balance.load());
}

inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::mutex guard;
  std::int64_t balance = start;
  const std::int64_t out = play(set, scene, [&](unsigned lane, network& way) {
    std::unique_lock lock(guard);
    const bool enough = balance >= amount;
    if (enough) balance -= amount;
    scene.say(lane, enough ? "takes 80 under the lock" : "finds too little");
    lock.unlock();
    if (enough) way.travel(60, 160);
    return enough;
  });
  return judge(out, balance);
}

// Prices: a withdrawal that is granted, and its refund.
inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<std::int64_t> balance{start};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    const std::int64_t seen = balance.load(std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    if (seen >= amount) balance.store(seen - amount, std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    const std::int64_t rest = balance.load(std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    balance.store(rest + amount, std::memory_order_relaxed);
  });
}

inline double bounded_counter_cost(unsigned threads, std::uint64_t operations) {
  interlock::bounded_counter balance(start, 0, 1'000);
  return price(threads, operations, [&](unsigned) {
    if (balance.try_sub(amount)) keep(balance.try_add(amount));
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  std::int64_t balance = start;
  return price(threads, operations, [&](unsigned) {
    bool granted = false;
    {
      const std::lock_guard lock(guard);
      granted = balance >= amount;
      if (granted) balance -= amount;
    }
    if (granted) {
      const std::lock_guard lock(guard);
      balance += amount;
    }
  });
}

inline scenario describe() {
  return {
      .name = "withdrawal",
      .story = "Two requests pass the same balance check.",
      .numbers = "balance 100, two withdrawals of 80: one must be refused; naive hands out 160",
      .unit = "money handed out beyond the balance",
      .cure = "bounded_counter::try_sub",
      .moral =
          "A check is worth nothing once another may act before you do. try_sub checks and "
          "subtracts in one step, and says no.",
      .forms = {
          {"naive", "check, then subtract", role::naive, naive, naive_cost},
          {"atomic-subtract", "check, then one atomic subtraction",
           role::still_wrong, atomic_subtract, nullptr},
          {"bounded_counter", "if (balance.try_sub(80)) pay",
           role::fixed, bounded_counter, bounded_counter_cost},
          {"mutex", "check and subtract under one lock", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::withdrawal
