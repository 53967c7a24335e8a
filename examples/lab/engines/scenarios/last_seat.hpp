// SPDX-License-Identifier: BSL-1.0
#pragma once

// last_seat on an engine.

#include "../../scenarios/last_seat.hpp"
#include "../world.hpp"
#include "withdrawal.hpp"

namespace lab::last_seat {

template <class E>
struct on {
  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> free(scene, "seat", 1);
    return judge(play(set, scene, [&](unsigned lane, network& way) {
      const std::int64_t seen = scene.step(
          lane, [&] { return free.read(); },
          [](std::int64_t seats) {
            return line{seats > 0 ? "sees the seat free" : "sees it sold"};
          });
      if (seen == 0) return false;
      way.travel(60, 160);  // pays
      scene.step(
          lane, [&] { return free.write(0); },
          [](std::int64_t over) {
            return over > 0 ? line{"pays and marks it sold"}
                            : line{"pays and sells it again", true};
          });
      return true;
    }));
  }

  static tally bounded_counter(const settings& set, trace* picture) {
    stage scene(picture);
    const typename E::bounded_counter free(client<E>(), fresh<E>("seat"), {1, 0, 1});
    return judge(play(set, scene, [&](unsigned lane, network& way) {
      const bool mine = scene.step(
          lane, [&] { return withdrawal::on<E>::taken(free.try_sub(1)); },
          [](bool taken) { return line{taken ? "takes the seat" : "finds it taken"}; });
      if (mine) way.travel(60, 160);
      return mine;
    }));
  }

  // The seat, the money and the order change together: nobody pays without a seat, and no seat is
  // gone without money.
  static tally transaction(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> free(scene, "seat", 1);
    const row<E> till(scene, "till", 0);
    const row<E> orders(scene, "orders", 0);
    const std::int64_t sold = play(set, scene, [&](unsigned lane, network& way) {
      const bool mine = E::atomically(client<E>(), [&](typename E::transaction& t) {
                          t.prefetch(free.at(), till.at(), orders.at());
                          if (t.read(free.at()) == 0) return false;
                          way.travel(20, 60);
                          t.write(free.at(), 0);
                          t.write(till.at(), *t.read(till.at()) + fare);
                          t.write(orders.at(), *t.read(orders.at()) + 1);
                          return true;
                        }).value();
      scene.say(lane, mine ? "commits seat, money and order" : "has nothing to commit");
      return mine;
    });
    tally end = judge(sold);
    end.lost += std::abs(till.read() - fare * sold) + std::abs(orders.read() - sold);
    return end;
  }

  // Prices: a seat is taken and given back.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const row<E> free(stage(nullptr), "seat", 1);
    return price(threads, operations, [&](unsigned) {
      if (free.read() == 0) return;
      free.write(0);
      free.write(1);
    });
  }

  static double bounded_counter_cost(unsigned threads, std::uint64_t operations) {
    const typename E::bounded_counter free(client<E>(), fresh<E>("seat"), {1, 0, 1});
    return price(threads, operations, [&](unsigned) {
      using withdrawal = withdrawal::on<E>;
      if (withdrawal::taken(free.try_sub(1))) keep(withdrawal::taken(free.try_add(1)));
    });
  }

  static scenario describe() {
    scenario out = told("last_seat");
    out.forms = {
        {"naive", "check, pay, mark sold", role::naive, naive, naive_cost},
        {"bounded_counter", "if (seats.try_sub(1)) pay", role::fixed, bounded_counter,
         bounded_counter_cost},
        {"transaction", "atomically: check; seat, money and order", role::fixed, transaction,
         nullptr},
    };
    return out;
  }
};

}  // namespace lab::last_seat
