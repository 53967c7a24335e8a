// SPDX-License-Identifier: BSL-1.0
// mirror_executor: the writes of mirrors on an executor, their waits by a timer.

#include <interlock/manual_timer.hpp>
#include <interlock/mirror.hpp>
#include <interlock/mirror_executor.hpp>
#include <interlock/timer_thread.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <semaphore>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::manual_timer;
using interlock::mirror;
using interlock::mirror_executor;
using interlock::mirror_flush_result;
using interlock::mirror_options;
using interlock::mirror_write_result;
using interlock::timer_thread;
using namespace std::chrono_literals;

namespace {

struct snapshot {
  int value;
  int version;
};

struct queue {  // taken by reference, as it cannot be copied
  queue() = default;
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;
  void execute(std::function<void()> job) {
    if (!open) throw std::runtime_error("closed");
    jobs.push_back(std::move(job));
  }
  void run() {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const auto job = jobs[i];
      job();
    }
    jobs.clear();
  }
  std::vector<std::function<void()>> jobs;
  bool open = true;
};

}  // namespace

TEST_CASE("Each job is given to the executor once, when its delay has passed and not before") {
  manual_timer timer;
  queue pool;
  mirror_executor on(timer, pool);
  std::vector<int> ran;
  const auto schedule = on.schedule();
  schedule(0s, [&] { ran.push_back(0); });
  schedule(2s, [&] { ran.push_back(2); });
  schedule(1s, [&] { ran.push_back(1); });
  CHECK(ran.empty());
  pool.run();
  CHECK(ran == std::vector<int>{0});
  timer.advance_to(timer.now() + 999ms);
  CHECK(pool.jobs.empty());
  timer.advance_to(timer.now() + 2s);
  timer.advance_to(timer.now() + 9s);
  CHECK(pool.jobs.size() == 2);
  pool.run();
  CHECK(ran == std::vector<int>{0, 1, 2});
}

TEST_CASE("What is late when the executor object ends is called off") {
  manual_timer timer;
  queue pool;
  {
    mirror_executor on(timer, pool);
    on.schedule()(1s, [] {});
  }
  timer.advance_to(timer.now() + 2s);
  CHECK(pool.jobs.empty());
}

TEST_CASE("A job that the executor refuses after its delay runs on the timer's thread") {
  manual_timer timer;
  queue pool;
  mirror_executor on(timer, pool);
  bool ran = false;
  on.schedule()(1s, [&] { ran = true; });
  pool.open = false;
  timer.advance_to(timer.now() + 1s);
  CHECK(ran);
}

TEST_CASE("the executor object ends when no call of the timer is in it") {
  manual_timer timer;
  std::binary_semaphore entered{0};
  std::atomic<bool> gone{false};
  std::atomic<bool> left{false};
  const auto execute = [&](const std::function<void()>&) {
    entered.release();
    for (int i = 0; i < 2'000 && !gone; ++i) std::this_thread::yield();
    left = true;
  };
  auto on = std::make_unique<mirror_executor<manual_timer, decltype(execute)&>>(timer, execute);
  on->schedule()(1s, [] {});
  std::thread rings([&] { timer.advance_to(timer.now() + 2s); });
  entered.acquire();
  on.reset();
  CHECK(left);
  gone = true;
  rings.join();
}

// A timer that is late before an alarm is set.
struct hasty_timer {
  using time_point = std::chrono::steady_clock::time_point;
  static time_point now() { return {}; }
  template <class F>
  struct alarm {
    alarm(hasty_timer&, time_point, F ring) { ring(); }
  };
};

TEST_CASE("a job whose time has come as its wait begins is given on, or refused to the caller") {
  hasty_timer timer;
  queue pool;
  mirror_executor on(timer, pool);
  bool ran = false;
  on.schedule()(1s, [&] { ran = true; });
  CHECK(pool.jobs.size() == 1);
  pool.open = false;
  CHECK_THROWS_AS(on.schedule()(1s, [&] { ran = true; }), std::runtime_error);
  CHECK_FALSE(ran);  // never within the call
}

TEST_CASE("a mirror keeps min_interval by a manual timer, and does not wait for it to close") {
  manual_timer timer;
  queue pool;
  mirror_executor on(timer, pool);
  int value = 1;
  std::vector<int> written;
  {
    mirror copy([&] { return snapshot{value, value}; },
                [&](int sent, int) {
                  written.push_back(sent);
                  return mirror_write_result::applied;
                },
                {.schedule = on.schedule(), .now = on.clock(), .min_interval = 10s});
    copy.touch();
    pool.run();
    value = 2;
    copy.touch();
    timer.advance_to(timer.now() + 9s);
    pool.run();
    CHECK(written == std::vector<int>{1});
    timer.advance_to(timer.now() + 1s);
    pool.run();
    CHECK(written == std::vector<int>{1, 2});
    value = 3;
    copy.touch();
    pool.open = false;  // closing sends here, and the alarm that is set finds nobody
  }
  CHECK(written == std::vector<int>{1, 2, 3});
}

TEST_CASE("mirrors on a thread's timer and a thread's queue lose nothing as they end") {
  timer_thread timer;
  std::mutex guard;
  std::vector<std::function<void()>> jobs;
  std::atomic<bool> stop{false};
  const auto execute = [&](std::function<void()> job) {
    const std::lock_guard lock(guard);
    jobs.push_back(std::move(job));
  };
  std::thread runner([&] {
    while (!stop) {
      std::vector<std::function<void()>> mine;
      {
        const std::lock_guard lock(guard);
        mine.swap(jobs);
      }
      for (auto& each : mine) each();
      std::this_thread::yield();
    }
  });
  mirror_executor on(timer, execute);
  for (std::size_t round = 0; round < support::rounds(300); ++round) {
    std::atomic<int> source{0};
    int at_target = 0;
    int fails = static_cast<int>(round % 3);
    mirror_options options{.schedule = on.schedule()};
    options.delay = [](std::size_t) { return 20us; };
    if (round % 2 == 0) options.min_interval = 10us;
    mirror copy(
        [&] {
          const int now = source.load();
          return snapshot{now, now};
        },
        [&](int sent, int) {
          if (fails-- > 0) return mirror_write_result::unknown;
          at_target = sent;
          return mirror_write_result::applied;
        },
        std::move(options));
    for (int i = 0; i < 20; ++i) {
      source.fetch_add(1, std::memory_order_relaxed);
      copy.touch();
    }
    REQUIRE(copy.close() == mirror_flush_result::flushed);
    REQUIRE(at_target == 20);
  }
  stop = true;
  runner.join();
}
