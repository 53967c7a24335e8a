// SPDX-License-Identifier: BSL-1.0
#pragma once

// dirty_read on an engine.

#include "../../scenarios/dirty_read.hpp"
#include "../world.hpp"

namespace lab::dirty_read {

// A reader's two requests are far enough apart for a commit with a flush of the disk.
inline constexpr std::int64_t apart_least = 1'000;
inline constexpr std::int64_t apart_most = 10'000;

template <class E>
struct on {
  using transaction = typename E::transaction;

  // A and B, and the writer who changes both in one transaction.
  struct parts {
    row<E> a;
    row<E> b;

    explicit parts(const stage& scene) : a(scene, "part", total), b(scene, "part", 0) {}

    // Effects: moves the amount from A to B in one transaction.
    void move(stage& scene, std::int64_t amount) const {
      E::atomically(client<E>(), [&](transaction& t) {
        t.prefetch(a.at(), b.at());
        t.write(a.at(), *t.read(a.at()) - amount);
        t.write(b.at(), *t.read(b.at()) + amount);
      }).value();
      scene.say(0, sentence("commits ", amount, " from A to B"));
    }
  };

  // The writer is right already; the reader reads twice.
  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const parts money(scene);
    return play(
        set, scene,
        [&](std::int64_t amount, network& way) {
          way.travel(30, 90);
          money.move(scene, amount);
        },
        [&](unsigned lane, network& way) {
          const std::int64_t left = scene.step(
              lane, [&] { return money.a.read(); },
              [](std::int64_t v) { return line{sentence("reads A: ", v)}; });
          way.travel(apart_least, apart_most);
          return left + scene.step(
                            lane, [&] { return money.b.read(); },
                            [](std::int64_t v) { return line{sentence("reads B: ", v)}; });
        });
  }

  static std::int64_t sum_of(const parts& money) {
    return E::atomically(client<E>(),
                         [&](transaction& t) {
                           t.prefetch(money.a.at(), money.b.at());
                           return *t.read(money.a.at()) + *t.read(money.b.at());
                         })
        .value();
  }

  static tally read_only(const settings& set, trace* picture) {
    stage scene(picture);
    const parts money(scene);
    return play(
        set, scene,
        [&](std::int64_t amount, network& way) {
          way.travel(30, 90);
          money.move(scene, amount);
        },
        [&](unsigned, network& way) {
          way.travel(apart_least, apart_most);
          return sum_of(money);
        });
  }

  // Prices: reading both, while nobody writes.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const parts money{stage(nullptr)};
    return price(threads, operations, [&](unsigned) { keep(money.a.read() + money.b.read()); });
  }

  static double read_only_cost(unsigned threads, std::uint64_t operations) {
    const parts money{stage(nullptr)};
    return price(threads, operations, [&](unsigned) { keep(sum_of(money)); });
  }

  static scenario describe() {
    scenario out = told("dirty_read");
    out.forms = {
        {"naive", "read the parts one by one", role::naive, naive, naive_cost},
        {"transaction", "atomically: read both", role::fixed, read_only, read_only_cost},
    };
    return out;
  }
};

}  // namespace lab::dirty_read
