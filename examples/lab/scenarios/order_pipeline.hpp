// SPDX-License-Identifier: BSL-1.0
#pragma once

// order_pipeline - payments, stock and orders must be worked off one at a time, in order, per
// account.

#include <algorithm>
#include <array>
#include <interlock/keyed_serial_queue.hpp>
#include <interlock/serial_queue.hpp>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "../support.hpp"

namespace lab::order_pipeline {

inline constexpr std::int64_t accounts = 2;
inline constexpr std::int64_t per_account = 8;

struct job {
  std::int64_t account = 0;
  std::int64_t number = 0;  // within its account
};

inline std::string name(const job& one) {
  return sentence(one.account == 0 ? "A" : "B", one.number + 1);
}

// The accounts' books. A job is in turn if every earlier job of its account has ended when it
// starts.
class books {
public:
  explicit books(stage& scene) : scene_(scene) {}

  [[nodiscard]] std::int64_t jobs() const { return scene_.drawn() ? 3 : accounts * per_account; }
  // Returns: the i-th job to arrive; the accounts take turns.
  [[nodiscard]] static job arrival(std::int64_t i) { return {i % accounts, i / accounts}; }

  // Effects: works a job off: payment, stock, order. That takes so many microseconds.
  void work(const job& next, unsigned lane, network& way, std::int64_t least = 30,
            std::int64_t most = 150) {
    word& done = done_[static_cast<std::size_t>(next.account)];
    const bool in_turn = scene_.step(
        lane, [&] { return done.read() == next.number; },
        [&](bool right) {
          const char* const end = right ? "" : " before its turn";
          return line{sentence("begins ", name(next), end), !right};
        });
    if (in_turn) in_turn_.add(1);
    way.travel(least, most);
    scene_.step(
        lane, [&] { return done.add(1); },
        [&](std::int64_t) { return line{sentence("ends ", name(next))}; });
  }
  [[nodiscard]] tally judge() const { return {jobs(), in_turn_.read(), jobs() - in_turn_.read()}; }

private:
  stage& scene_;
  std::array<word, accounts> done_{};
  word in_turn_;
};

inline unsigned pool(const settings& set, const stage& scene) {
  return scene.drawn() ? 3 : std::max(2U, set.threads);
}

// Effects: a pool of workers takes the jobs in the order of arrival and calls
//          work(job, lane, way) for each.
template <class Work>
tally play(const settings& set, trace* picture, unsigned workers, Work work) {
  stage scene(picture);
  books ledger(scene);
  for (unsigned i = 0; i < workers; ++i) scene.name(i, sentence("worker ", i + 1));
  word next(-1);
  together(workers, [&](unsigned lane) {
    network way(set, lane);
    for (std::int64_t i = next.add(1); i < ledger.jobs(); i = next.add(1)) {
      work(ledger, ledger.arrival(i), lane, way);
    }
  });
  return ledger.judge();
}

inline tally naive(const settings& set, trace* picture) {
  return play(set, picture, pool(set, stage(picture)),
              [](books& ledger, const job& next, unsigned lane, network& way) {
                ledger.work(next, lane, way);
              });
}

// A lock per account ends two at once and keeps no order: whoever comes first locks first, and the
// worker that took the earlier job may come second.
inline tally lock_per_account(const settings& set, trace* picture) {
  std::array<lockable, accounts> guard;
  return play(set, picture, pool(set, stage(picture)),
              [&](books& ledger, const job& next, unsigned lane, network& way) {
                way.travel(0, 150);  // loads the order
                const std::lock_guard held(guard[static_cast<std::size_t>(next.account)]);
                ledger.work(next, lane, way);
              });
}

// Effects: every account has a client, who submits its jobs in order: post(job, work), where
//          work(lane, way) works the job off; then queue.drain().
// Throws: std::runtime_error if post() does not answer that the job is accepted.
template <class Queue, class Post>
tally submit(stage& scene, Queue& queue, Post post) {
  books ledger(scene);
  together(accounts, [&](unsigned account) {
    for (std::int64_t i = account; i < ledger.jobs(); i += accounts) {
      const job next = ledger.arrival(i);
      const auto answer = post(
          next, [&ledger, next](unsigned lane, network& way) { ledger.work(next, lane, way); });
      if (answer != interlock::post_result::accepted) throw std::runtime_error("a job was refused");
    }
  });
  queue.drain();
  return ledger.judge();
}

// One line for all, worked off by a thread of the queue's own: in the order of submission.
inline tally serial_queue(const settings& set, trace* picture) {
  stage scene(picture);
  scene.name(0, "the queue's worker");
  network way(set, 0);
  background hands;
  interlock::serial_queue line_of_jobs(
      {.workers = hands.workers(1), .executor = hands.executor()});
  return submit(scene, line_of_jobs, [&](const job&, auto work) {
    return line_of_jobs.post([&way, work] { work(0, way); });
  });
}

// A line per account, worked off by a pool. A lane is an account here: any worker may serve it.
inline tally keyed_serial_queue(const settings& set, trace* picture) {
  stage scene(picture);
  scene.name(0, "account A");
  scene.name(1, "account B");
  std::array<network, accounts> way{network(set, 0), network(set, 1)};
  background hands;
  interlock::keyed_serial_queue<std::int64_t> line_of_jobs({.workers = hands.workers(2)});
  return submit(scene, line_of_jobs, [&](const job& next, auto work) {
    const auto lane = static_cast<unsigned>(next.account);
    return line_of_jobs.post(next.account, [&road = way[lane], lane, work] { work(lane, road); });
  });
}

// Right, and no two accounts are ever worked on at the same time.
inline tally one_worker(const settings& set, trace* picture) {
  return play(set, picture, 1, [](books& ledger, const job& next, unsigned lane, network& way) {
    ledger.work(next, lane, way);
  });
}

// Prices: one at a time, the least work there is, and the caller waits for its end.
inline double lock_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  std::int64_t done = 0;
  return price(threads, operations, [&](unsigned) {
    const std::lock_guard lock(guard);
    keep(++done);
  });
}

inline double serial_queue_cost(unsigned threads, std::uint64_t operations) {
  interlock::serial_queue line_of_jobs;
  std::int64_t done = 0;
  return price(threads, operations,
               [&](unsigned) { line_of_jobs.run([&] { keep(++done); }); });
}

inline double keyed_serial_queue_cost(unsigned threads, std::uint64_t operations) {
  interlock::keyed_serial_queue<unsigned> line_of_jobs;
  std::vector<std::int64_t> done(threads * 16);  // a cache line apart
  return price(threads, operations, [&](unsigned lane) {
    line_of_jobs.run(lane, [&] { keep(++done[lane * 16]); });
  });
}

inline scenario describe() {
  return {
      .name = "order_pipeline",
      .story =
          "Payments, stock and orders must be worked off one at a time, in order, per account.",
      .numbers = "2 accounts, 8 jobs each; every job begins after the one before it ended",
      .unit = "jobs begun before their turn",
      .cure = "keyed_serial_queue, serial_queue",
      .moral =
          "A pool starts jobs in order and promises nothing about the rest; a lock keeps two "
          "apart and knows no order. A serial queue is both: one at a time, as submitted, and "
          "other accounts go on.",
      .forms = {
          {"naive", "a pool of workers", role::naive, naive, nullptr},
          {"lock-per-account", "a pool of workers, a mutex per account",
           role::still_wrong, lock_per_account, lock_cost},
          {"keyed_serial_queue", "queue.post(account, job): a line per account, a pool",
           role::fixed, keyed_serial_queue, keyed_serial_queue_cost},
          {"serial_queue", "queue.post(job): one line, a worker of its own",
           role::fixed, serial_queue, serial_queue_cost},
          {"one-worker", "one worker for everything", role::plain, one_worker, nullptr},
      },
  };
}

}  // namespace lab::order_pipeline
