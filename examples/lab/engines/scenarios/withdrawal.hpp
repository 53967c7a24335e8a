// SPDX-License-Identifier: BSL-1.0
#pragma once

// withdrawal on an engine.

#include "../../scenarios/withdrawal.hpp"
#include "../world.hpp"

namespace lab::withdrawal {

template <class E>
struct on {
  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> balance(scene, "balance", start);
    return check_then_write(set, scene, balance);
  }

  // UPDATE ... SET balance = balance - 80 is one step; the check still is another.
  static tally atomic_subtract(const settings& set, trace* picture) {
    stage scene(picture);
    const auto balance = counter_at<E>(start, "balance");
    const std::int64_t out = play(set, scene, [&](unsigned lane, network& way) {
      const std::int64_t seen = scene.step(
          lane, [&] { return balance.load().value(); }, reads);
      if (seen < amount) return false;
      way.travel(60, 160);
      scene.step(
          lane, [&] { return balance.sub(amount).value(); },
          [](std::int64_t rest) {
            return line{sentence("subtracts 80: ", rest, " is left"), rest < 0};
          });
      return true;
    });
    return judge(out, balance.load().value());
  }

  // Returns: whether the engine made the change; it says no by a conflict.
  template <class Answer>
  static bool taken(const Answer& answer) {
    if (!answer.conflicted()) static_cast<void>(answer.value());
    return answer.applied();
  }

  static tally bounded_counter(const settings& set, trace* picture) {
    stage scene(picture);
    const typename E::bounded_counter balance(client<E>(), fresh<E>("balance"), {start, 0, 1'000});
    const std::int64_t out = play(set, scene, [&](unsigned lane, network& way) {
      const bool enough = scene.step(
          lane, [&] { return taken(balance.try_sub(amount)); },
          [](bool granted) { return line{granted ? "takes 80: 20 is left" : "finds too little"}; });
      if (enough) way.travel(60, 160);
      return enough;
    });
    return judge(out, balance.load().value());
  }

  // Prices: a withdrawal that is granted, and its refund.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const row<E> balance(stage(nullptr), "balance", start);
    return price(threads, operations, [&](unsigned) {
      const std::int64_t seen = balance.read();
      if (seen >= amount) balance.write(seen - amount);
      balance.write(balance.read() + amount);
    });
  }

  static double bounded_counter_cost(unsigned threads, std::uint64_t operations) {
    const typename E::bounded_counter balance(client<E>(), fresh<E>("balance"), {start, 0, 1'000});
    return price(threads, operations, [&](unsigned) {
      if (taken(balance.try_sub(amount))) keep(taken(balance.try_add(amount)));
    });
  }

  static scenario describe() {
    scenario out = told("withdrawal");
    out.forms = {
        {"naive", "check, then subtract", role::naive, naive, naive_cost},
        {"atomic-subtract", "check, then UPDATE ... SET balance = balance - 80", role::still_wrong,
         atomic_subtract, nullptr},
        {"bounded_counter", "if (balance.try_sub(80)) pay", role::fixed, bounded_counter,
         bounded_counter_cost},
    };
    return out;
  }
};

}  // namespace lab::withdrawal
