// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue under threads: the order of every producer for every key, keys that come
// and go all the time, close and cancel racing, and the pool without keys seen to break the order.

#include <interlock/keyed_serial_queue.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::keyed_serial_queue;
using interlock::post_result;
using interlock::queue_options;
using interlock::when_full;

namespace {

constexpr std::size_t keys = 16;
constexpr std::size_t most_threads = 8;

// One account; only the tasks of its key touch it, without any synchronisation of its own.
struct alignas(64) account {
  std::uint64_t runs = 0;
  std::uint64_t out_of_order = 0;
  std::array<std::uint64_t, most_threads> last{};  // by producer

  void record(std::size_t producer, std::uint64_t number) {
    ++runs;
    if (number <= last[producer]) ++out_of_order;
    last[producer] = number;
  }
};

std::vector<queue_options> all_ways() {
  std::vector<queue_options> ways(5);
  ways[1].workers = 1;
  ways[2].workers = 3;
  ways[2].quantum = 2;
  ways[3].quantum = 1;
  ways[4].workers = 2;
  ways[4].capacity = 3;
  ways[4].full = when_full::block;
  return ways;
}

struct few_hashes {  // long chains, and keys that share all they can
  std::size_t operator()(std::size_t key) const noexcept { return key % 3; }
};

}  // namespace

TEST_CASE("run and post keep the order of every thread for every key and lose nothing") {
  for (const queue_options& options : all_ways()) {
    for (const std::size_t threads : {2U, 4U, 8U}) {
      std::array<account, keys> accounts;
      keyed_serial_queue<std::size_t, few_hashes> queue(options);
      const std::uint64_t each = support::rounds(80'000) / threads;
      std::atomic<std::uint64_t> refused{0};
      support::run_threads(threads, [&](std::size_t id) {
        std::minstd_rand random(static_cast<unsigned>(id + 1));
        for (std::uint64_t i = 1; i <= each; ++i) {
          const std::size_t key = random() % (i % 2 == 0 ? keys : 2);  // two of them are hot
          const auto record = [&account = accounts[key], id, i] { account.record(id, i); };
          if (random() % 4 == 0) {
            queue.run(key, record);
          } else if (queue.post(key, record) != post_result::accepted) {
            ++refused;
          }
          if (i % 1000 == 0) queue.drain(key);
        }
      });
      queue.drain();
      std::uint64_t runs = 0;
      std::uint64_t out_of_order = 0;
      for (const account& a : accounts) {
        runs += a.runs;
        out_of_order += a.out_of_order;
      }
      CHECK(refused == 0);
      CHECK(runs == each * threads);
      CHECK(out_of_order == 0);
      const auto stats = queue.stats();
      CHECK(stats.accepted == runs);
      CHECK(stats.completed == runs);
    }
  }
}

TEST_CASE("A pool of workers without keys breaks the order of an account") {
  // The same ledger with atomic steps, so that only the logic races: two workers of one list.
  bool broken = false;
  for (int attempt = 0; attempt < 1000 && !broken; ++attempt) {
    std::atomic<std::uint64_t> next{1};
    std::atomic<std::uint64_t> last{0};
    std::atomic<bool> overtaken{false};
    support::run_threads(2, [&](std::size_t) {
      for (std::uint64_t i = next.fetch_add(1); i <= 2'000; i = next.fetch_add(1)) {
        if (i % 64 == 0) std::this_thread::yield();  // between taking a task and doing it
        if (last.exchange(i) > i) overtaken = true;
      }
    });
    broken = overtaken;
  }
  CHECK(broken);
}

TEST_CASE("close racing with keyed posts leaves nothing accepted that does not run") {
  for (const queue_options& options : all_ways()) {
    for (std::size_t round = 0; round < support::rounds(200); ++round) {
      keyed_serial_queue<std::size_t> queue(options);
      std::array<std::uint64_t, 4> ran{};
      std::atomic<std::uint64_t> accepted{0};
      support::run_threads(4, [&](std::size_t id) {
        if (id == 0) {
          for (std::size_t i = 0; i < round % 50; ++i) std::this_thread::yield();
          queue.close();
          queue.drain();
          return;
        }
        for (std::size_t i = 0; i < 200; ++i) {
          const std::size_t key = (id + i) % 4;
          if (queue.post(key, [&n = ran[key]] { ++n; }) == post_result::accepted) ++accepted;
        }
      });
      queue.drain();
      REQUIRE(ran[0] + ran[1] + ran[2] + ran[3] == accepted);
    }
  }
}

TEST_CASE("cancel_pending racing with keyed work leaves one end for each task") {
  for (const queue_options& options : all_ways()) {
    keyed_serial_queue<std::size_t> queue(options);
    std::array<std::uint64_t, keys> ran{};
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
      for (std::size_t i = 0; i < support::rounds(3'000); ++i) {
        const std::size_t key = i % keys;
        ++accepted;
        if (id == 1) {
          (void)queue.post(key, [&n = ran[key]] { ++n; });
          continue;
        }
        try {
          queue.run(key, [&n = ran[key]] { ++n; });
        } catch (const std::system_error&) {
          ++told;
        }
      }
      --working;
    });
    queue.drain();
    std::uint64_t sum = 0;
    for (const std::uint64_t n : ran) sum += n;
    const auto stats = queue.stats();
    CHECK(stats.accepted == accepted);
    CHECK(stats.completed == sum);
    CHECK(stats.completed + stats.cancelled == stats.accepted);
    CHECK(stats.cancelled >= told);
  }
}

TEST_CASE("Keyed queues are destroyed while the threads that served them are on their way out") {
  for (const queue_options& options : all_ways()) {
    for (std::size_t round = 0; round < support::rounds(300); ++round) {
      auto queue = std::make_unique<keyed_serial_queue<int>>(options);
      std::array<int, 2> ran{};
      std::atomic<int> left{2};
      support::run_threads(2, [&](std::size_t) {
        for (int i = 0; i < 4; ++i) {
          (void)queue->post(i % 2, [&n = ran[static_cast<std::size_t>(i % 2)]] { ++n; });
        }
        queue->run(1, [&] { ++ran[1]; });
        if (left.fetch_sub(1) == 1) queue.reset();
      });
      REQUIRE(ran[0] == 4);
      REQUIRE(ran[1] == 6);
    }
  }
}
