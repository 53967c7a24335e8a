// SPDX-License-Identifier: BSL-1.0
#pragma once

// order_pipeline on an engine: the jobs wait there, and the workers may be anywhere.

#include <interlock/inplace_stop_token.hpp>

#include "../../scenarios/order_pipeline.hpp"
#include "../world.hpp"

namespace lab::order_pipeline {

// A job is worth the way to the engine, some milliseconds with a flush of the disk.
inline constexpr std::int64_t least_work = 2'000;
inline constexpr std::int64_t most_work = 12'000;

template <class E>
struct on {
  // Effects: a pool of workers takes the jobs in the order of arrival, each by one step of the
  //          engine, and calls work(job, lane, way) for each.
  template <class Work>
  static tally take_in_order(const settings& set, trace* picture, Work work) {
    stage scene(picture);
    books ledger(scene);
    const unsigned workers = pool(set, scene);
    for (unsigned i = 0; i < workers; ++i) scene.name(i, sentence("worker ", i + 1));
    const auto next = counter_at<E>(-1, "next");
    together(workers, [&](unsigned lane) {
      network way(set, lane);
      for (;;) {
        const std::int64_t i = next.add(1).value();
        if (i >= ledger.jobs()) return;
        work(ledger, ledger.arrival(i), lane, way);
      }
    });
    return ledger.judge();
  }

  static tally naive(const settings& set, trace* picture) {
    return take_in_order(set, picture,
                         [](books& ledger, const job& next, unsigned lane, network& way) {
                           ledger.work(next, lane, way, least_work, most_work);
                         });
  }

  // A lock of the engine per account ends two at once and keeps no order.
  static tally lock_per_account(const settings& set, trace* picture) {
    const std::array<typename E::mutex, accounts> doors{
        typename E::mutex(client<E>(), fresh<E>("door")),
        typename E::mutex(client<E>(), fresh<E>("door"))};
    return take_in_order(
        set, picture, [&](books& ledger, const job& next, unsigned lane, network& way) {
          way.travel(0, 150);  // loads the order
          const auto& door = doors[static_cast<std::size_t>(next.account)];
          const auto held = door.lock({.poll = std::chrono::milliseconds(2)}).value();
          ledger.work(next, lane, way, least_work, most_work);
        });
  }

  // Effects: every account has a client, who pushes its jobs in order; a pool of workers works them
  //          off.
  static tally serial_queue(const settings& set, trace* picture) {
    stage scene(picture);
    books ledger(scene);
    const typename E::template serial_queue<std::int64_t> jobs(
        client<E>(), fresh<E>("jobs"), {.poll = std::chrono::milliseconds(2)});
    together(accounts, [&](unsigned account) {
      for (std::int64_t i = account; i < ledger.jobs(); i += accounts) {
        jobs.push(std::to_string(account), i).value();
      }
    });
    const unsigned workers = pool(set, scene);
    for (unsigned i = 0; i < workers; ++i) scene.name(i, sentence("worker ", i + 1));
    word open(ledger.jobs());
    interlock::inplace_stop_source end;
    together(workers, [&](unsigned lane) {
      network way(set, lane);
      const auto work = [&](const auto& item) {
        ledger.work(books::arrival(item.value()), lane, way, least_work, most_work);
        if (open.add(-1) == 0) end.request_stop();
      };
      static_cast<void>(jobs.work(work, end.get_token()));
    });
    return ledger.judge();
  }

  // Prices: a job is pushed, taken and finished; each thread has a key of its own.
  static double serial_queue_cost(unsigned threads, std::uint64_t operations) {
    const typename E::template serial_queue<std::int64_t> jobs(client<E>(), fresh<E>("jobs"));
    return price(threads, operations, [&](unsigned lane) {
      jobs.push(std::to_string(lane), 1).value();
      auto taken = jobs.take();
      if (taken.conflicted()) return;  // another thread was here between, and took this one's
      std::move(taken).value().finish().value();
    });
  }

  static scenario describe() {
    scenario out = told("order_pipeline");
    out.cure = "serial_queue, of an engine";
    out.moral =
        "Jobs that are taken in order need not be worked off in order; a lock keeps two apart and "
        "knows no order. The queue gives the next job of an account when the one before it is "
        "finished, to whichever server asks, and again if that one dies.";
    out.forms = {
        {"naive", "a pool of workers takes the next number", role::naive, naive, nullptr},
        {"lock-per-account", "the same, and a mutex of the engine per account", role::still_wrong,
         lock_per_account, nullptr},
        {"serial_queue", "queue.push(account, job); queue.work(f)", role::fixed, serial_queue,
         serial_queue_cost},
    };
    return out;
  }
};

}  // namespace lab::order_pipeline
