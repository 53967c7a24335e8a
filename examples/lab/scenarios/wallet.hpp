// SPDX-License-Identifier: BSL-1.0
#pragma once

// wallet - two debits computed from the same read.

#include <cstdlib>
#include <interlock/versioned.hpp>
#include <mutex>

#include "../support.hpp"

namespace lab::wallet {

inline constexpr std::int64_t start = 1000;
inline constexpr std::int64_t debits[] = {300, 500};
inline constexpr std::int64_t expected = 200;

// Effects: two requests call pay(lane, debit, way) at once.
template <class Pay>
void play(const settings& set, stage& scene, Pay pay) {
  scene.name(0, "debit of 300");
  scene.name(1, "debit of 500");
  together(2, [&](unsigned lane) {
    network way(set, lane);
    pay(lane, debits[lane], way);
  });
}

inline std::int64_t version(const interlock::versioned<std::int64_t>::snapshot& seen) {
  return static_cast<std::int64_t>(seen.version);
}

inline tally judge(std::int64_t got) {
  return {expected, got, std::abs(got - expected)};
}

// Read, compute, save what was computed: the later save undoes the earlier one.
template <class Balance>
tally read_then_save(const settings& set, stage& scene, Balance& balance) {
  play(set, scene, [&](unsigned lane, std::int64_t debit, network& way) {
    const std::int64_t seen = scene.step(
        lane, [&] { return balance.read(); }, reads);
    way.travel(60, 160);  // fees, limits, exchange rate
    scene.step(
        lane, [&] { return balance.write(seen - debit); },
        [&](std::int64_t over) { return writes_back(seen - debit, seen, over); });
  });
  return judge(balance.read());
}

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  word balance(start);
  return read_then_save(set, scene, balance);
}

// Nobody waits for anybody: a save that comes too late is refused and computed anew.
inline tally versioned(const settings& set, trace* picture) {
  stage scene(picture);
  interlock::versioned<std::int64_t> balance(start);
  play(set, scene, [&](unsigned lane, std::int64_t debit, network& way) {
    for (bool saved = false; !saved;) {
      const auto seen = scene.step(
          lane, [&] { return balance.load(); },
          [](const auto& now) {
            return line{sentence("reads ", now.value, ", version ", version(now))};
          });
      way.travel(60, 160);
      saved = scene.step(
          lane,
          [&] {
            return static_cast<bool>(balance.compare_and_set(seen.version, seen.value - debit));
          },
          [&](bool done) {
            if (done) return line{sentence("saves ", seen.value - debit)};
            return line{sentence("is refused: version ", version(seen), " is history")};
          });
    }
  });
  return judge(balance.load().value);
}

// The lock has to be held while the new balance is computed: the second debit waits for it.
inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  std::mutex guard;
  word balance(start);
  play(set, scene, [&](unsigned lane, std::int64_t debit, network& way) {
    const std::lock_guard lock(guard);
    const std::int64_t seen = scene.step(
        lane, [&] { return balance.read(); }, reads);
    way.travel(60, 160);
    scene.step(
        lane, [&] { return balance.write(seen - debit); },
        [&](std::int64_t over) { return writes_back(seen - debit, seen, over); });
  });
  return judge(balance.read());
}

// Prices: read, compute, save; the computation is one addition.
inline double naive_cost(unsigned threads, std::uint64_t operations) {
  std::atomic<std::int64_t> balance{start};
  return price(threads, operations, [&](unsigned) {
    // order: relaxed: the naive form in bare words; nothing is published
    const std::int64_t seen = balance.load(std::memory_order_relaxed);
    // order: relaxed: the naive form in bare words; nothing is published
    balance.store(seen - 1, std::memory_order_relaxed);
  });
}

inline double versioned_cost(unsigned threads, std::uint64_t operations) {
  interlock::versioned<std::int64_t> balance(start);
  return price(threads, operations,
               [&](unsigned) { balance.update([](std::int64_t& money) { money -= 1; }); });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  std::int64_t balance = start;
  return price(threads, operations, [&](unsigned) {
    const std::lock_guard lock(guard);
    keep(--balance);
  });
}

inline scenario describe() {
  return {
      .name = "wallet",
      .story = "Two debits are computed from the same read.",
      .numbers = "1000 - 300 - 500 = 200; naive ends at 700 or 500",
      .unit = "money that came back",
      .cure = "versioned<T>::update",
      .moral =
          "The second save undoes the first, because it was computed from a balance that is "
          "history. A versioned save is refused when the version it was computed from is no "
          "longer current.",
      .forms = {
          {"naive", "read, compute, save", role::naive, naive, naive_cost},
          {"versioned", "read, compute, save if the version is still current; else again",
           role::fixed, versioned, versioned_cost},
          {"mutex", "lock, read, compute, save, unlock", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::wallet
