// SPDX-License-Identifier: BSL-1.0
// serial_queue under threads: every producer's order, nothing lost, nothing run twice, close and
// cancel racing with everything, and the naive pool that the queue replaces seen to lose.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::inplace_stop_source;
using interlock::post_result;
using interlock::queue_options;
using interlock::serial_queue;
using interlock::sync_wait;
using interlock::task;
using interlock::when_full;

namespace {

constexpr std::size_t most_threads = 8;

// What one queue is checked against. Only its tasks touch it, so it needs no synchronisation: if
// two ran at once, or one were lost, doubled or overtaken, the numbers would not come out.
struct ledger {
  std::uint64_t runs = 0;
  std::uint64_t out_of_order = 0;
  std::uint64_t last[most_threads] = {};  // by producer

  void record(std::size_t producer, std::uint64_t number) {
    ++runs;
    if (number != last[producer] + 1) ++out_of_order;
    last[producer] = number;
  }
};

std::vector<queue_options> all_ways() {
  std::vector<queue_options> ways(4);
  ways[1].workers = 1;
  ways[2].quantum = 1;
  ways[3].workers = 1;
  ways[3].capacity = 4;
  ways[3].full = when_full::block;
  return ways;
}

task<std::uint64_t> number_of(ledger& book) {
  co_return book.runs;
}

task<void> submit_all(serial_queue& queue, ledger& book, std::size_t id, std::uint64_t n) {
  for (std::uint64_t i = 1; i <= n; ++i) {
    co_await queue.submit([&book, id, i] { book.record(id, i); });
    if (i % 16 == 0) co_await queue.submit([&book] { return number_of(book); });
  }
}

}  // namespace

TEST_CASE("run, post and submit together keep the order of every thread and lose nothing") {
  for (const queue_options& options : all_ways()) {
    for (const std::size_t threads : {2U, 4U, 8U}) {
      serial_queue queue(options);
      ledger book;
      const std::uint64_t each = support::rounds(80'000) / threads;
      std::atomic<std::uint64_t> refused{0};
      support::run_threads(threads, [&](std::size_t id) {
        if (id % 4 == 3) {
          sync_wait(submit_all(queue, book, id, each));
          return;
        }
        for (std::uint64_t i = 1; i <= each; ++i) {
          const auto record = [&book, id, i] { book.record(id, i); };
          if (id % 2 == 0) {
            if (queue.post(record) != post_result::accepted) ++refused;
          } else {
            queue.run(record);
          }
        }
      });
      queue.drain();
      CHECK(refused == 0);
      CHECK(book.runs == each * threads);
      CHECK(book.out_of_order == 0);
      const auto stats = queue.stats();
      CHECK(stats.accepted == stats.completed);
    }
  }
}

TEST_CASE("A pool of workers without the queue loses updates and order") {
  // The same ledger, its steps atomic so that only the logic races: load, add one, store.
  bool lost = false;
  for (int attempt = 0; attempt < 1000 && !lost; ++attempt) {
    std::atomic<std::uint64_t> runs{0};
    const std::uint64_t each = 2'000;
    support::run_threads(2, [&](std::size_t) {
      for (std::uint64_t i = 0; i < each; ++i) {
        const std::uint64_t seen = runs.load(std::memory_order_relaxed);
        if (i % 64 == 0) std::this_thread::yield();
        runs.store(seen + 1, std::memory_order_relaxed);
      }
    });
    lost = runs != 2 * each;
  }
  CHECK(lost);
}

TEST_CASE("close racing with posts leaves nothing accepted that does not run") {
  for (const queue_options& options : all_ways()) {
    for (std::size_t round = 0; round < support::rounds(200); ++round) {
      serial_queue queue(options);
      std::uint64_t ran = 0;
      std::atomic<std::uint64_t> accepted{0};
      support::run_threads(4, [&](std::size_t id) {
        if (id == 0) {
          for (std::size_t i = 0; i < round % 50; ++i) std::this_thread::yield();
          queue.close();
          queue.drain();
          return;
        }
        for (int i = 0; i < 200; ++i) {
          if (queue.post([&] { ++ran; }) == post_result::accepted) ++accepted;
        }
      });
      const std::uint64_t after_drain =
          ran;  // the posters are back, and drain() came after close()
      queue.drain();
      REQUIRE(ran == after_drain);
      REQUIRE(ran == accepted);
    }
  }
}

TEST_CASE("cancel_pending racing with everything tells each submitter exactly one end") {
  for (const queue_options& options : all_ways()) {
    serial_queue queue(options);
    std::uint64_t ran = 0;
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> told{0};
    std::atomic<int> working{3};
    support::run_threads(4, [&](std::size_t id) {
      if (id == 0) {
        while (working != 0) {
          queue.cancel_pending();
          std::this_thread::yield();
        }
        return;
      }
      for (std::size_t i = 0; i < support::rounds(5'000); ++i) {
        if (id == 1) {
          if (queue.post([&] { ++ran; }) == post_result::accepted) ++accepted;
          continue;
        }
        ++accepted;
        try {
          queue.run([&] { ++ran; });
        } catch (const std::system_error&) {
          ++told;
        }
      }
      --working;
    });
    queue.drain();
    const auto stats = queue.stats();
    CHECK(stats.accepted == accepted);
    CHECK(stats.completed == ran);
    CHECK(stats.cancelled + stats.completed == stats.accepted);
    CHECK(stats.cancelled >= told);
  }
}

TEST_CASE("A full queue under pressure refuses or blocks but never loses") {
  for (const when_full full : {when_full::reject, when_full::block}) {
    for (const std::size_t workers : {0U, 1U}) {
      serial_queue queue({.capacity = 3, .full = full, .workers = workers});
      std::uint64_t ran = 0;
      std::atomic<std::uint64_t> accepted{0};
      std::atomic<std::uint64_t> refused{0};
      const std::uint64_t each = support::rounds(10'000);
      support::run_threads(4, [&](std::size_t) {
        for (std::uint64_t i = 0; i < each; ++i) {
          (queue.post([&] { ++ran; }) == post_result::accepted ? accepted : refused)++;
        }
      });
      queue.drain();
      CHECK(accepted + refused == 4 * each);
      CHECK(ran == accepted);
      if (full == when_full::block) CHECK(refused == 0);
    }
  }
}

TEST_CASE("Queues are destroyed while the threads that served them are still on their way out") {
  for (const queue_options& options : all_ways()) {
    for (std::size_t round = 0; round < support::rounds(500); ++round) {
      auto queue = std::make_unique<serial_queue>(options);
      std::uint64_t ran = 0;
      std::atomic<int> left{2};
      support::run_threads(2, [&](std::size_t) {
        for (int i = 0; i < 3; ++i) (void)queue->post([&] { ++ran; });
        queue->run([&] { ++ran; });
        if (left.fetch_sub(1) == 1) queue.reset();  // the other is out, its work perhaps not
      });
      REQUIRE(ran == 8);
    }
  }
}

TEST_CASE("Exceptions, stops, deadlines, drops and the end of the queue, all at once") {
  for (queue_options options : all_ways()) {
    for (std::size_t round = 0; round < support::rounds(60); ++round) {
      options.capacity = 8;
      options.full = round % 2 == 0 ? when_full::drop_oldest : when_full::block;
      options.metrics = round % 3 == 0;
      options.on_error = [](const std::exception_ptr&) {};
      auto queue = std::make_unique<serial_queue>(options);
      inplace_stop_source stop;
      std::uint64_t begun = 0;  // only tasks touch it
      std::atomic<std::uint64_t> refused{0};
      std::atomic<int> left{4};
      const auto task_of = [&begun](std::size_t i) {
        return [&begun, i] {
          ++begun;
          if (i % 5 == 0) throw std::runtime_error("one in five");
        };
      };
      support::run_threads(4, [&](std::size_t id) {
        for (std::size_t i = 0; i < 40; ++i) {
          const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(i);
          try {
            switch ((id + i) % 6) {
              case 0: refused += queue->post(task_of(i)) != post_result::accepted; break;
              case 1:
                refused += queue->post(task_of(i), stop.get_token()) != post_result::accepted;
                break;
              case 2: refused += queue->post_droppable(task_of(i)) != post_result::accepted; break;
              case 3: refused += !queue->run_until(soon, task_of(i)).ran(); break;
              case 4: refused += !queue->run(task_of(i), stop.get_token()).ran(); break;
              case 5: queue->run(task_of(i)); break;
            }
          } catch (const std::runtime_error&) {
          }
          if (id == 3 && i == 20) stop.request_stop();
        }
        if (left.fetch_sub(1) != 1) return;
        queue->drain();
        const auto all = queue->stats();
        refused += all.completed + all.failed == begun ? 0 : 1'000'000;
        queue.reset();
      });
      REQUIRE(refused <= 160);
    }
  }
}

TEST_CASE("Two queues that post to each other come to rest") {
  serial_queue ping({.workers = 1});
  serial_queue pong;
  std::uint64_t pings = 0;
  std::uint64_t pongs = 0;
  const std::uint64_t n = support::rounds(20'000);
  std::atomic<bool> over{false};
  std::function<void()> hit_back;
  const std::function<void()> hit = [&] {
    if (++pings < n) {
      (void)pong.post(hit_back);
    } else {
      over = true;
    }
  };
  hit_back = [&] {
    ++pongs;
    (void)ping.post(hit);
  };
  (void)ping.post(hit);
  while (!over) std::this_thread::yield();
  ping.drain();
  pong.drain();
  CHECK(pings == n);
  CHECK(pongs == n - 1);
}
