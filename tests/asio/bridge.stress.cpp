// SPDX-License-Identifier: BSL-1.0
// The bridge under threads: two run the loop, others lock and unlock, signals are emitted on threads
// of their own, and loops are destroyed while plain threads let their operations in or end them.

#include "which_asio.hpp"

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>
#include <interlock/timer_thread.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::asio_timer;
using interlock::async_lock;
using interlock::async_lock_until;
using interlock::async_mutex;
using std::chrono::steady_clock;

namespace {

net::awaitable<void> adds(async_mutex& mutex, std::size_t& sum, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    const auto held = co_await async_lock(mutex, net::use_awaitable);
    const std::size_t before = sum;
    co_await net::post(co_await net::this_coro::executor, net::use_awaitable);
    sum = before + 1;
  }
}

}  // namespace

TEST_CASE("coroutines of a loop on two threads and plain threads exclude each other") {
  net::io_context io(2);
  async_mutex mutex;
  std::size_t sum = 0;
  const std::size_t each = support::rounds(2'000);
  for (int i = 0; i < 20; ++i) {
    net::co_spawn(net::make_strand(io), adds(mutex, sum, each), net::detached);
  }
  support::run_threads(4, [&](std::size_t id) {
    if (id < 2) {
      io.run();
      return;
    }
    for (std::size_t i = 0; i < each; ++i) {
      const auto held = mutex.lock_blocking();
      ++sum;
    }
  });
  CHECK(sum == 22 * each);
  CHECK_FALSE(mutex.held());
}

TEST_CASE("a signal on any thread and a deadline end a wait once") {
  net::thread_pool pool(2);
  async_mutex mutex;
  asio_timer timer(pool.get_executor());
  const std::size_t each = support::rounds(3'000);
  std::atomic<std::size_t> ended{0};
  std::atomic<std::size_t> owned{0};
  std::atomic<int> wrong{0};
  std::size_t inside = 0;
  support::run_threads(3, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id == 0) {
        const auto held = mutex.lock_blocking();
        ++inside;
        continue;
      }
      net::cancellation_signal cancel;
      std::atomic<bool> done{false};
      async_lock_until(
          mutex, timer, steady_clock::now() + std::chrono::microseconds(i % 50),
          net::bind_cancellation_slot(
              cancel.slot(),
              net::bind_executor(pool, [&](error_code error, async_mutex::guard held) {
                if (held.owns_lock() == static_cast<bool>(error)) wrong.fetch_add(1);
                ended.fetch_add(1, std::memory_order_relaxed);
                if (held) {
                  ++inside;
                  owned.fetch_add(1, std::memory_order_relaxed);
                  held.unlock();
                }
                done.store(true, std::memory_order_release);
              })));
      if (i % 3 == 0) cancel.emit(net::cancellation_type::total);
      while (!done.load(std::memory_order_acquire)) std::this_thread::yield();
    }
  });
  pool.join();
  CHECK(wrong.load() == 0);
  CHECK(ended.load() == 2 * each);
  CHECK(inside == each + owned.load());
  CHECK_FALSE(mutex.held());
}

TEST_CASE("a loop is destroyed while other threads let its operations in") {
  for (std::size_t i = 0; i < support::rounds(3'000); ++i) {
    async_mutex mutex;
    auto handlers = std::make_shared<int>();
    auto loop = std::make_unique<net::io_context>();
    auto held = mutex.try_lock();
    for (int n = 0; n < 4; ++n) {
      async_lock(mutex, net::bind_executor(*loop, [handlers](error_code, async_mutex::guard) {}));
    }
    support::run_threads(2, [&](std::size_t id) {
      if (id == 0) {
        for (std::size_t spin = 0; spin < i % 64; ++spin) static_cast<void>(mutex.held());
        loop.reset();
      } else {
        held.unlock();
        const auto mine = mutex.lock_blocking();
      }
    });
    REQUIRE(handlers.use_count() == 1);
    REQUIRE_FALSE(mutex.held());
    REQUIRE(mutex.waiters_approx() == 0);
  }
}

TEST_CASE("a loop is destroyed while signals and deadlines end its waits") {
  interlock::timer_thread own;
  net::thread_pool pool(1);
  asio_timer rings(pool.get_executor());
  for (std::size_t i = 0; i < support::rounds(3'000); ++i) {
    async_mutex mutex;
    std::array<net::cancellation_signal, 4> cancel;
    auto handlers = std::make_shared<int>();
    auto loop = std::make_unique<net::io_context>();
    auto held = mutex.try_lock();
    const auto soon = steady_clock::now() + std::chrono::microseconds(i % 100);
    for (std::size_t n = 0; n < cancel.size(); ++n) {
      const auto ends = [handlers](error_code, async_mutex::guard) {};
      const auto slot = cancel[n].slot();
      if (n % 2 == 0) {
        async_lock_until(mutex, own, soon,
                         net::bind_cancellation_slot(slot, net::bind_executor(*loop, ends)));
      } else {
        const auto strand = net::make_strand(*loop);
        async_lock_until(mutex, rings, soon,
                         net::bind_cancellation_slot(slot, net::bind_executor(strand, ends)));
      }
    }
    support::run_threads(3, [&](std::size_t id) {
      if (id == 0) {
        for (std::size_t spin = 0; spin < i % 64; ++spin) static_cast<void>(mutex.held());
        loop.reset();
      } else if (id == 1) {
        for (auto& each : cancel) each.emit(net::cancellation_type::total);
      } else {
        held.unlock();
      }
    });
    REQUIRE(handlers.use_count() == 1);
    REQUIRE_FALSE(mutex.held());
    REQUIRE(mutex.waiters_approx() == 0);
  }
}
