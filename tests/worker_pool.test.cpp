// SPDX-License-Identifier: BSL-1.0
// worker_pool: each guarantee, executors, errors, lifetime.

#include <interlock/async_event.hpp>
#include <interlock/executor.hpp>
#include <interlock/worker_pool.hpp>

#include <array>
#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/code_of.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/threads.hpp"

using interlock::worker_pool;
using support::code_of;

static_assert(interlock::executor<worker_pool> && interlock::executor<worker_pool&>);

TEST_CASE("What execute has taken runs once, on a thread of the pool") {
  worker_pool pool({.threads = 3});
  CHECK(pool.threads() == 3);
  CHECK_FALSE(pool.runs_this_thread());
  constexpr std::size_t each = 2'000;
  std::vector<std::atomic<int>> runs(4 * each);
  std::atomic<bool> elsewhere{false};
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      pool.execute([&, at = id * each + i] {
        ++runs[at];
        if (!pool.runs_this_thread()) elsewhere = true;
      });
    }
  });
  pool.drain();
  bool once = true;
  for (const std::atomic<int>& n : runs) once = once && n == 1;
  CHECK(once);
  CHECK_FALSE(elsewhere);
  CHECK(pool.queued_approx() == 0);
}

TEST_CASE("Tasks begin in the order in which they were given") {
  worker_pool pool({.threads = 1});
  std::binary_semaphore gate{0};
  pool.execute([&] { gate.acquire(); });
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) pool.execute([&order, i] { order.push_back(i); });
  gate.release();
  pool.drain();
  bool right = order.size() == 100;
  for (std::size_t i = 0; i < order.size(); ++i) right = right && order[i] == static_cast<int>(i);
  CHECK(right);
}

TEST_CASE("The destructor of a pool runs all that is queued first") {
  std::atomic<int> ran{0}, too_many{0};
  std::binary_semaphore gate{0};
  std::thread opener;
  {
    worker_pool pool({.threads = 2});
    for (int i = 0; i < 2; ++i) {
      pool.execute([&] {
        gate.acquire();
        ++ran;
      });
    }
    for (int i = 0; i < 500; ++i) {
      pool.execute([&pool, &ran, &too_many] {
        ++ran;
        too_many += pool.queued_approx() > 1000;
      });
    }
    opener = std::thread([&] {
      gate.release();
      gate.release();
    });
  }
  opener.join();
  CHECK(ran == 502);
  CHECK(too_many == 0);
}

TEST_CASE("A closed pool takes nothing, and says so") {
  worker_pool pool({.threads = 1});
  std::atomic<int> ran{0};
  std::binary_semaphore gate{0};
  pool.execute([&] {
    gate.acquire();
    ++ran;
  });
  pool.execute([&] { ++ran; });
  CHECK_FALSE(pool.closed());
  pool.close();
  CHECK(pool.closed());
  const auto alive = std::make_shared<int>(0);
  CHECK(code_of([&] { pool.execute([&ran, alive] { ran += 100; }); }) == std::errc::broken_pipe);
  CHECK(alive.use_count() == 1);
  gate.release();
  pool.drain();
  CHECK(ran == 2);
}

TEST_CASE("A task that throws takes no thread with it") {
  std::mutex guard;
  std::set<std::string> told;
  worker_pool pool({.threads = 1, .on_error = [&](const std::exception_ptr& e) {
                      try {
                        std::rethrow_exception(e);
                      } catch (const std::exception& what) {
                        const std::lock_guard lock(guard);
                        told.insert(what.what());
                      }
                    }});
  int ran = 0;
  pool.execute([] { throw std::runtime_error("first"); });
  pool.execute([&] { ++ran; });
  pool.execute([] { throw std::runtime_error("second"); });
  pool.execute([&] { ++ran; });
  pool.drain();
  CHECK(ran == 2);
  CHECK(told == std::set<std::string>{"first", "second"});
}

TEST_CASE("a pool without on_error ends the program when a task throws") {
  CHECK_FALSE(support::death_message([] {
                worker_pool pool({.threads = 1});
                pool.execute([] { throw std::runtime_error("nobody looks"); });
                pool.drain();
              }).empty());
}

TEST_CASE("tasks of a pool run side by side, may post and may be move-only") {
  worker_pool pool({.threads = 2});
  std::array<std::binary_semaphore, 2> begun{std::binary_semaphore(0), std::binary_semaphore(0)};
  for (const std::size_t own : {std::size_t{0}, std::size_t{1}}) {
    pool.execute([&begun, own] {  // each ends only if the other one has begun
      begun[own].release();
      begun[1 - own].acquire();
    });
  }
  auto data = std::make_unique<int>(7);
  std::promise<int> told;
  pool.execute([&pool, &told, held = std::move(data)]() mutable {
    pool.execute([&told, inner = std::move(held)] { told.set_value(*inner); });
  });
  CHECK(told.get_future().get() == 7);
  pool.drain();
}

TEST_CASE("a task is destroyed on its thread, also one that throws") {
  const auto alive = std::make_shared<int>(0);
  worker_pool pool({.threads = 1, .on_error = [](const std::exception_ptr&) {}});
  pool.execute([alive] {});
  pool.execute([alive] { throw 1; });
  pool.drain();
  CHECK(alive.use_count() == 1);
}

TEST_CASE("a pool refuses an empty function by name") {
  worker_pool pool({.threads = 1});
  CHECK_THROWS_AS(pool.execute(std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(pool.execute(static_cast<void (*)()>(nullptr)), std::invalid_argument);
  CHECK(pool.queued_approx() == 0);
}

TEST_CASE("a pool whose task waits for it to be idle gets an error") {
  worker_pool pool({.threads = 1});
  std::promise<std::errc> told;
  pool.execute([&] { told.set_value(code_of([&] { pool.drain(); })); });
  CHECK(told.get_future().get() == std::errc::resource_deadlock_would_occur);
  CHECK_THROWS_AS(worker_pool({.threads = 70'000}), std::invalid_argument);
}

TEST_CASE("a pool destroyed by its own task ends the program with a sentence") {
  const std::string message = support::death_message([] {
    auto* const pool = new worker_pool({.threads = 1});
    pool->execute([pool] { delete pool; });
    std::promise<void>().get_future().wait();
  });
  CHECK(message.find("on a thread of the pool") != std::string::npos);
}

TEST_CASE("a coroutine goes on in a pool") {
  interlock::async_manual_reset_event event;
  std::promise<bool> told;
  worker_pool pool({.threads = 1});
  const auto waits = [&]() -> support::detached {
    co_await event.wait().resume_on(pool);
    told.set_value(pool.runs_this_thread());
  };
  waits();
  event.set();
  CHECK(told.get_future().get());
}

TEST_CASE("execute allocates nothing once as many tasks were queued before") {
  if (!support::counts_allocations) return;
  worker_pool pool({.threads = 1});
  std::array<std::uint64_t, 11> payload{};
  std::atomic<std::uint64_t> sum{0};
  const auto burst = [&] {
    for (int i = 0; i < 200; ++i) pool.execute([&sum, payload] { sum += payload[0] + 1; });
    pool.drain();
  };
  for (int i = 0; i < 20; ++i) burst();
  const std::size_t before = support::allocations();
  for (int i = 0; i < 20; ++i) burst();
  CHECK(support::allocations() - before <= 64);  // a magazine that was not full may go
  CHECK(sum == 40 * 200);
}
