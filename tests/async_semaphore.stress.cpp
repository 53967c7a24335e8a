// SPDX-License-Identifier: BSL-1.0
// async_semaphore and events under threads: coroutines, threads, stops, deadlines, destruction.
// Negative control: a limit that is checked and then raised, in the same harness, lets too many in.

#include <interlock/async_event.hpp>
#include <interlock/async_semaphore.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/timer_thread.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using namespace std::chrono_literals;
using interlock::async_auto_reset_event;
using interlock::async_semaphore;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::timer_thread;
using interlock::wait_status;
using support::detached;

namespace {

constexpr std::uint32_t all = 5;

// What a semaphore limits: sees when more are inside than may be.
class room {
public:
  void enter(std::uint32_t n) {
    if (inside_.fetch_add(n, std::memory_order_relaxed) + n > all) crowds_.fetch_add(1);
    if (visits_.fetch_add(1, std::memory_order_relaxed) % 64 == 0) std::this_thread::yield();
  }
  void leave(std::uint32_t n) { inside_.fetch_sub(n, std::memory_order_relaxed); }
  [[nodiscard]] std::size_t visits() const { return visits_.load(); }
  [[nodiscard]] std::size_t crowds() const { return crowds_.load(); }
  [[nodiscard]] bool empty() const { return inside_.load() == 0; }

private:
  std::atomic<std::uint32_t> inside_{0};
  std::atomic<std::size_t> visits_{0};
  std::atomic<std::size_t> crowds_{0};
};

// Checked, then raised: with relaxed atomics so that only its logic is wrong.
class checked_then_raised {
public:
  void acquire(std::uint32_t n) {
    while (out_.load(std::memory_order_relaxed) + n > all) std::this_thread::yield();
    std::this_thread::yield();  // the gap
    out_.fetch_add(n, std::memory_order_relaxed);
  }
  void release(std::uint32_t n) { out_.fetch_sub(n, std::memory_order_relaxed); }

private:
  std::atomic<std::uint32_t> out_{0};
};

struct place {
  async_semaphore door{all};
  room inside;
  std::atomic<std::size_t> ended{0};    // waits that ended, whichever way
  std::atomic<std::size_t> refused{0};  // of these

  void visit(async_semaphore::permits mine) {
    if (mine) {
      const std::uint32_t n = mine.count();
      inside.enter(n);
      inside.leave(n);
      mine.give_back();
    } else {
      refused.fetch_add(1, std::memory_order_relaxed);
    }
    ended.fetch_add(1, std::memory_order_release);
  }
  void check(std::size_t expected) const {
    while (ended.load(std::memory_order_acquire) != expected) std::this_thread::yield();
    CHECK(inside.crowds() == 0);
    CHECK(inside.empty());
    CHECK(inside.visits() + refused.load() == expected);
    CHECK(door.available_approx() == all);
    CHECK(door.waiters_approx() == 0);
  }
};

detached visits(place& p, std::uint32_t n) { p.visit(co_await p.door.acquire(n)); }
detached visits_unless(place& p, std::uint32_t n, inplace_stop_token stop) {
  p.visit(co_await p.door.acquire(n, stop));
}
detached visits_until(place& p, timer_thread& timer, timer_thread::time_point deadline,
                      std::uint32_t n, inplace_stop_token stop) {
  p.visit(co_await p.door.acquire_until(timer, deadline, n, stop));
}
support::owned stays(place& p, std::uint32_t n) {
  const auto mine = co_await p.door.acquire(n);
  p.refused.fetch_add(1000);  // it is destroyed before
}

std::uint32_t weight(std::size_t i) { return static_cast<std::uint32_t>(i % all + 1); }

}  // namespace

TEST_CASE("threads and coroutines are let in by a semaphore as many as may") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    const std::size_t each = support::rounds(400'000 / threads);
    place p;
    support::run_threads(threads, [&](std::size_t id) {
      for (std::size_t i = 0; i < each; ++i) {
        switch ((id + i) % 3) {
          case 0: visits(p, weight(i)); break;
          case 1: p.visit(p.door.acquire_blocking(weight(i + id))); break;
          default: p.visit(p.door.try_acquire(weight(i)));
        }
      }
    });
    p.check(threads * each);
  }
}

TEST_CASE("stops and deadlines end the wait for permits beside grants and lose none") {
  const std::size_t rounds = support::rounds(20'000);
  timer_thread timer;
  place p;
  std::vector<std::unique_ptr<inplace_stop_source>> stops;
  for (std::size_t i = 0; i < rounds; ++i) stops.push_back(std::make_unique<inplace_stop_source>());
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      switch (id) {
        case 0: visits_unless(p, weight(i), stops[i]->get_token()); break;
        case 1:
          visits_until(p, timer, std::chrono::steady_clock::now() + 20us, weight(i + 1),
                       stops[rounds - 1 - i]->get_token());
          break;
        case 2: stops[i]->request_stop(); break;
        default:
          p.visit(p.door.acquire_blocking_until(
              std::chrono::steady_clock::now() + std::chrono::microseconds(i % 50), weight(i)));
      }
    }
  });
  p.check(3 * rounds);
}

TEST_CASE("suspended coroutines are destroyed beside grants to those behind them") {
  const std::size_t rounds = support::rounds(20'000);
  place p;
  async_semaphore& door = p.door;
  support::run_threads(4, [&](std::size_t id) {
    if (id == 0) {
      // They ask for more than is ever there meanwhile, so nobody can let them in.
      const auto held = door.acquire_blocking(1);
      support::start_and_destroy(rounds, [&] { return stays(p, all); });
      return;
    }
    for (std::size_t i = 0; i < rounds; ++i) visits(p, weight(i + id) % all);
  });
  CHECK(p.refused == 0);
  p.check(3 * rounds);
}

TEST_CASE("the last of many that give may find the semaphore gone as soon as it has given") {
  const std::size_t rounds = support::rounds(30'000);
  std::vector<async_semaphore*> doors;
  for (std::size_t i = 0; i < rounds; ++i) {
    doors.push_back(std::make_unique<async_semaphore>(0U, 8U).release());
  }
  std::atomic<std::size_t> destroyed{0};
  const auto waits = [](async_semaphore* door, inplace_stop_source* stop,
                        std::atomic<std::size_t>& count) -> detached {
    auto mine = co_await door->acquire(3, stop->get_token());
    if (!mine) mine = co_await door->acquire(3);
    static_cast<void>(mine.release());
    const std::unique_ptr<async_semaphore> gone(door);
    count.fetch_add(1);
  };
  std::vector<std::unique_ptr<inplace_stop_source>> stops;
  for (std::size_t i = 0; i < rounds; ++i) stops.push_back(std::make_unique<inplace_stop_source>());
  support::run_threads(5, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (id == 0) {
        waits(doors[i], stops[i].get(), destroyed);
      } else if (id == 1) {
        stops[i]->request_stop();
      } else {
        doors[i]->release();
      }
    }
  });
  CHECK(destroyed == rounds);
}

TEST_CASE("an auto-reset event loses no set to those who give up") {
  const std::size_t rounds = support::rounds(20'000);
  async_auto_reset_event work;
  std::atomic<std::size_t> made{0};
  std::atomic<std::size_t> taken{0};
  std::atomic<std::size_t> idle{0};
  support::run_threads(4, [&](std::size_t id) {
    if (id == 0) {
      for (std::size_t i = 0; i < rounds; ++i) {
        made.fetch_add(1, std::memory_order_relaxed);
        work.set();
        while (taken.load() != i + 1) std::this_thread::yield();  // for ever if the set got lost
      }
      work.close();
      return;
    }
    while (true) {
      const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(5 * id);
      const wait_status how = id == 1 ? work.wait_blocking() : work.wait_blocking_until(soon);
      if (how == wait_status::closed) return;
      if (how == wait_status::acquired) {
        taken.fetch_add(made.exchange(0, std::memory_order_relaxed));
      } else {
        idle.fetch_add(1, std::memory_order_relaxed);
      }
    }
  });
  CHECK(taken == rounds);
  CHECK(made == 0);
}

TEST_CASE("negative control: a limit that is checked and then raised lets too many in") {
  checked_then_raised door;
  room inside;
  for (int attempt = 0; attempt < 200 && inside.crowds() == 0; ++attempt) {
    support::run_threads(4, [&](std::size_t id) {
      for (std::size_t i = 0; i < 1000; ++i) {
        const std::uint32_t n = weight(i + id);
        door.acquire(n);
        inside.enter(n);
        inside.leave(n);
        door.release(n);
      }
    });
  }
  CHECK(inside.crowds() > 0);
}
