// SPDX-License-Identifier: BSL-1.0
#pragma once

// transfer on an engine.

#include "../../scenarios/transfer.hpp"
#include "../world.hpp"

namespace lab::transfer {

template <class E>
struct on {
  using counter = typename E::counter;

  // Two updates, each of them atomic: UPDATE ... SET balance = balance - 30.
  struct bank {
    std::array<counter, accounts> balance{
        counter_at<E>(each, "account"), counter_at<E>(each, "account"),
        counter_at<E>(each, "account"), counter_at<E>(each, "account")};

    [[nodiscard]] std::int64_t sum() const {
      std::int64_t money = 0;
      for (const counter& one : balance) money += one.load().value();
      return money;
    }
    // Effects: one half of a transfer.
    void change(stage& scene, unsigned lane, std::size_t account, std::int64_t amount) const {
      scene.step(
          lane, [&] { return balance[account].add(amount).value(); },
          [&](std::int64_t now) {
            const char* const what = amount < 0 ? "takes " : "adds ";
            return line{sentence(what, std::abs(amount), ", ", name(account), " has ", now)};
          });
    }
    void move(stage& scene, unsigned lane, const order& next, network& way) const {
      change(scene, lane, next.from, -next.amount);
      next.ask_receiver(scene, lane, way);
      change(scene, lane, next.to, next.amount);
    }
  };

  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const bank money;
    return judge(play(
        set, scene,
        [&](unsigned lane, const order& next, network& way) { money.move(scene, lane, next, way); },
        [&] { return money.sum(); }));
  }

  // A lock keeps others out; it takes nothing back.
  static tally lock_alone(const settings& set, trace* picture) {
    stage scene(picture);
    const bank money;
    const typename E::mutex door(client<E>(), fresh<E>("door"));
    const auto locked = [&] { return door.lock({.poll = std::chrono::milliseconds(2)}).value(); };
    return judge(play(
        set, scene,
        [&](unsigned lane, const order& next, network& way) {
          const auto held = locked();
          money.move(scene, lane, next, way);
        },
        [&] {
          const auto held = locked();
          return money.sum();
        }));
  }

  // A transaction takes effect whole or not at all, whoever looks and whatever is thrown.
  static tally transaction(const settings& set, trace* picture) {
    using transaction = typename E::transaction;
    stage scene(picture);
    const std::array<row<E>, accounts> balance{
        row<E>(scene, "account", each), row<E>(scene, "account", each),
        row<E>(scene, "account", each), row<E>(scene, "account", each)};
    const auto move = [&](unsigned lane, const order& next, network& way) {
      const auto& from = balance[next.from].at();
      const auto& to = balance[next.to].at();
      E::atomically(client<E>(), [&](transaction& t) {
        t.prefetch(from, to);
        t.write(from, *t.read(from) - next.amount);
        next.ask_receiver(scene, lane, way);
        t.write(to, *t.read(to) + next.amount);
      }).value();
      scene.say(lane, sentence("commits the transfer of ", next.amount));
    };
    return judge(play(set, scene, move, [&] {
      return E::atomically(client<E>(),
                           [&](transaction& t) {
                             t.prefetch(balance[0].at(), balance[1].at(), balance[2].at(),
                                        balance[3].at());
                             std::int64_t money = 0;
                             for (const row<E>& one : balance) money += *t.read(one.at());
                             return money;
                           })
          .value();
    }));
  }

  // Prices: a transfer between two accounts, nothing fails.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const auto a = counter_at<E>(0, "account");
    const auto b = counter_at<E>(0, "account");
    return price(threads, operations, [&](unsigned) {
      a.sub(1).value();
      b.add(1).value();
    });
  }

  static double transaction_cost(unsigned threads, std::uint64_t operations) {
    const row<E> a(stage(nullptr), "account", 0);
    const row<E> b(stage(nullptr), "account", 0);
    return price(threads, operations, [&](unsigned) {
      E::atomically(client<E>(), [&](typename E::transaction& t) {
        t.prefetch(a.at(), b.at());
        t.write(a.at(), *t.read(a.at()) - 1);
        t.write(b.at(), *t.read(b.at()) + 1);
      }).value();
    });
  }

  static scenario describe() {
    scenario out = told("transfer");
    out.forms = {
        {"naive", "UPDATE A, ask B's bank, UPDATE B", role::naive, naive, naive_cost},
        {"lock-alone", "lock, take, ask, add, unlock", role::still_wrong, lock_alone, nullptr},
        {"transaction", "atomically: take, ask, add", role::fixed, transaction, transaction_cost},
    };
    return out;
  }
};

}  // namespace lab::transfer
