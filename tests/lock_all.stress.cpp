// SPDX-License-Identifier: BSL-1.0
// lock_all under threads: philosophers of all kinds around a table of mutexes, some of whom are
// called away, and some who take one mutex alone. Whoever is stuck stops the program. Negative
// control: by hand, in opposite orders, two are stuck (seen by tries, so that the program goes on).

#include <interlock/inplace_stop_token.hpp>
#include <interlock/lock_all.hpp>
#include <interlock/when_all.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::async_shared_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::lock_all;
using interlock::lock_all_blocking;
using interlock::lock_all_blocking_until;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

constexpr std::size_t seats = 3;

struct table {
  std::array<async_mutex, seats> forks;
  async_shared_mutex bowl;
  std::array<std::uint64_t, seats> used{};  // plain: each ordered by its fork alone
  std::uint64_t emptied = 0;                // and this by the bowl
  std::atomic<std::uint64_t> meals{0};
  std::atomic<std::uint64_t> snacks{0};
};

void eat(table& at, std::size_t left, std::size_t right) {
  ++at.used[left];
  ++at.used[right];
  ++at.emptied;
  at.meals.fetch_add(1, std::memory_order_relaxed);
}

task<> dine(table& at, std::size_t left, std::size_t right, inplace_stop_token stop) {
  const auto all = co_await lock_all(at.forks[left], at.bowl, at.forks[right], stop);
  if (!all) co_return;
  eat(at, left, right);
  co_await reschedule();
}
task<> snack(table& at, std::size_t fork) {
  const auto held = co_await at.forks[fork].lock();
  ++at.used[fork];
  at.snacks.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

TEST_CASE("whoever takes several in any order, and is called away or not, gets on with the others") {
  table shared;
  const std::size_t rounds = support::rounds(20'000);
  support::run_threads(3, [&](std::size_t id) {
    std::minstd_rand random(static_cast<unsigned>(id + 1));
    for (std::size_t round = 0; round < rounds; ++round) {
      const std::size_t left = random() % seats;
      const std::size_t right = (left + 1) % seats;
      if (id == 2) {
        const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 9);
        const auto all = random() % 2 == 0
                             ? lock_all_blocking(shared.forks[right], shared.forks[left], shared.bowl)
                             : lock_all_blocking_until(soon, shared.forks[right], shared.forks[left],
                                                       shared.bowl);
        if (all) eat(shared, left, right);
        continue;
      }
      inplace_stop_source stop;
      std::vector<task<>> some;
      for (std::size_t i = 0; i < 4; ++i) {
        const bool turned = random() % 2 == 0;
        some.push_back(dine(shared, turned ? left : right, turned ? right : left, stop.get_token()));
        some.push_back(snack(shared, random() % seats));
      }
      const auto calls_away = [](inplace_stop_source& source, bool at_once) -> task<> {
        if (!at_once) co_await reschedule();
        source.request_stop();
      };
      if (random() % 2 == 0) some.push_back(calls_away(stop, random() % 2 == 0));
      sync_wait(when_all(std::move(some)));
    }
  });
  CHECK(shared.emptied == shared.meals.load());
  std::uint64_t used = 0;
  for (const std::uint64_t each : shared.used) used += each;
  CHECK(used == 2 * shared.meals.load() + shared.snacks.load());
  for (const async_mutex& fork : shared.forks) CHECK_FALSE(fork.held());
  CHECK_FALSE(shared.bowl.held());
}

TEST_CASE("negative control: by hand in opposite orders two are stuck") {
  std::atomic<std::size_t> stuck{0};
  for (int attempt = 0; attempt < 200 && stuck == 0; ++attempt) {
    async_mutex a;
    async_mutex b;
    support::run_threads(2, [&](std::size_t id) {
      for (int i = 0; i < 200; ++i) {
        const auto first = (id == 0 ? a : b).lock_blocking();
        std::this_thread::yield();  // the gap
        const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
        const auto second = (id == 0 ? b : a).lock_blocking_until(soon);
        if (!second) stuck.fetch_add(1);
      }
    });
  }
  CHECK(stuck > 0);
}
