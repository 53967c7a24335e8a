// SPDX-License-Identifier: BSL-1.0
#pragma once

// wallet on an engine.

#include "../../scenarios/wallet.hpp"
#include "../world.hpp"

namespace lab::wallet {

template <class E>
struct on {
  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> balance(scene, "wallet", start);
    return read_then_save(set, scene, balance);
  }

  // UPDATE ... WHERE version = the one that was read: a save that comes too late is computed anew.
  static tally versioned(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> wallet(scene, "wallet", start);
    const auto& balance = wallet.at();
    play(set, scene, [&](unsigned lane, std::int64_t debit, network& way) {
      for (bool saved = false; !saved;) {
        const auto seen = scene.step(
            lane, [&] { return balance.load().value(); },
            [](const auto& now) { return reads(*now.value); });
        way.travel(60, 160);
        saved = scene.step(
            lane,
            [&] {
              const auto answer = balance.compare_and_set(seen.version, *seen.value - debit);
              if (!answer.conflicted()) static_cast<void>(answer.value());
              return answer.applied();
            },
            [&](bool done) {
              if (done) return line{sentence("saves ", *seen.value - debit)};
              return line{"is refused: what it read is history"};
            });
      }
    });
    return judge(wallet.read());
  }

  // Prices: read, compute, save; the computation is one addition.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const row<E> balance(stage(nullptr), "wallet", start);
    return price(threads, operations, [&](unsigned) { balance.write(balance.read() - 1); });
  }

  static double versioned_cost(unsigned threads, std::uint64_t operations) {
    const row<E> balance(stage(nullptr), "wallet", start);
    return price(threads, operations, [&](unsigned) {
      balance.at().update([](std::int64_t& money) { money -= 1; }, 100'000).value();
    });
  }

  static scenario describe() {
    scenario out = told("wallet");
    out.forms = {
        {"naive", "SELECT, compute, UPDATE", role::naive, naive, naive_cost},
        {"versioned",
         "SELECT, compute, UPDATE ... WHERE version = the one that was read; else again",
         role::fixed, versioned, versioned_cost},
    };
    return out;
  }
};

}  // namespace lab::wallet
