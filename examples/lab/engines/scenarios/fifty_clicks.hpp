// SPDX-License-Identifier: BSL-1.0
#pragma once

// fifty_clicks on an engine: the endpoint counts in a row.

#include "../../scenarios/fifty_clicks.hpp"
#include "../world.hpp"

namespace lab::fifty_clicks {

template <class E>
struct on {
  static tally naive(const settings& set, trace* picture) {
    const row<E> count(stage(picture), "clicks", start);
    return read_then_write(set, picture, count);
  }

  static tally counter(const settings& set, trace* picture) {
    const auto count = counter_at<E>(start, "clicks");
    play(set, picture, [&](unsigned lane, network& way, stage& scene) {
      way.travel();
      scene.step(
          lane, [&] { return count.add(1).value(); },
          [](std::int64_t sum) { return line{sentence("adds 1: ", sum)}; });
    });
    return judge(picture, count.load().value());
  }

  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const row<E> count(stage(nullptr), "clicks", start);
    return price(threads, operations, [&](unsigned) { count.write(count.read() + 1); });
  }

  static double counter_cost(unsigned threads, std::uint64_t operations) {
    const auto count = counter_at<E>(start, "clicks");
    return price(threads, operations, [&](unsigned) { count.add(1).value(); });
  }

  static scenario describe() {
    scenario out = told("fifty_clicks");
    out.cure = "counter";
    out.forms = {
        {"naive", "SELECT, add one, UPDATE", role::naive, naive, naive_cost},
        {"counter", "count.add(1)", role::fixed, counter, counter_cost},
    };
    return out;
  }
};

}  // namespace lab::fifty_clicks
