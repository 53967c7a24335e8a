// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue under threads: each key linearizable, keys that come and go all the time,
// exceptions, stops, cancels, closes and destruction in one; beside it the naive forms, each caught.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/keyed_serial_queue.hpp>
#include <interlock/task.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/order_monitors.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
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

// ---- one key, linearizable ----------------------------------------------------------------------

using interlock::testing::history;
using interlock::testing::job;
using interlock::testing::monitor_serial;
using interlock::testing::ticket_clock;
using interlock::testing::verdict;

constexpr std::size_t posters = 4;
constexpr std::size_t logs = posters + 4;

// Which log this thread writes: a poster its own, each other thread one of those that are left.
std::size_t own_log(std::size_t given = logs) {
  static std::atomic<std::size_t> others{0};
  thread_local std::size_t mine = logs;
  if (given != logs) mine = given;
  if (mine == logs) mine = posters + others.fetch_add(1) % (logs - posters);
  return mine;
}

struct ours {
  explicit ours(const queue_options& options) : queue(options) {}
  template <class F>
  bool post(std::size_t key, F f) {
    return queue.post(key, f) == post_result::accepted;
  }
  template <class F>
  void run(std::size_t key, F f) {
    queue.run(key, f);
  }
  void drain() { queue.drain(); }
  keyed_serial_queue<std::size_t, few_hashes> queue;
};
// Whoever calls, runs.
struct without_keys {
  explicit without_keys(const queue_options&) {}
  template <class F>
  bool post(std::size_t, F f) {
    f();
    return true;
  }
  template <class F>
  void run(std::size_t, F f) {
    f();
  }
  void drain() {}
};

// Returns: what is wrong with the history of a key, if anything is.
template <class Queue>
verdict verdict_of_keys(const queue_options& options, std::size_t rounds) {
  constexpr std::size_t watched = 3;
  ticket_clock clock;
  std::deque<history<job>> submitted;
  std::deque<history<job>> ran;
  for (std::size_t key = 0; key < watched; ++key) {
    submitted.emplace_back(clock, posters);
    ran.emplace_back(clock, logs);
  }
  {
    Queue queue(options);
    support::run_threads(posters, [&](std::size_t me) {
      own_log(me);
      for (std::size_t i = 0; i < rounds; ++i) {
        const std::uint64_t id = i * posters + me;
        const std::size_t key = (id / 3) % watched;
        const auto work = [&, id, key] {
          ran[key].record(own_log(), {id}, [&](job&) {
            if (id % 31 == 0) std::this_thread::yield();
          });
        };
        submitted[key].record(me, {id}, [&](job& mine) {
          if (i % 8 == 0) {
            queue.run(key, work);
          } else {
            mine.accepted = queue.post(key, work);
          }
        });
      }
    });
    queue.drain();
  }
  for (std::size_t key = 0; key < watched; ++key) {
    verdict found = monitor_serial(submitted[key].operations(), ran[key].operations());
    if (!found) return found;
  }
  return {};
}

// ---- naive forms --------------------------------------------------------------------------------

// One lane for each of some hashes, each with its thread.
class hash_lanes {
public:
  explicit hash_lanes(std::size_t n) : lanes_(n) {
    for (lane& each : lanes_) each.thread = std::thread([&each] { each.work(); });
  }
  ~hash_lanes() {
    for (lane& each : lanes_) each.stop();
  }
  template <class F>
  void post(std::size_t key, F f) {
    lanes_[key % lanes_.size()].post(f);
  }

private:
  struct lane {
    void post(std::function<void()> f) {
      const std::lock_guard lock(guard);
      jobs.push_back(std::move(f));
    }
    void work() {
      std::unique_lock lock(guard);
      while (!stopping || !jobs.empty()) {
        if (jobs.empty()) {
          lock.unlock();
          std::this_thread::yield();
          lock.lock();
          continue;
        }
        const auto next = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        next();
        lock.lock();
      }
    }
    void stop() {
      {
        const std::lock_guard lock(guard);
        stopping = true;
      }
      thread.join();
    }
    std::mutex guard;
    std::deque<std::function<void()>> jobs;
    bool stopping = false;
    std::thread thread;
  };
  std::deque<lane> lanes_;
};

// Drops what is left in its list, as a strand whose context goes.
struct drops {
  template <class F>
  post_result post(std::size_t, F f) {
    jobs.push_back(f);
    if (jobs.size() < 64) return post_result::accepted;
    for (const auto& job : std::exchange(jobs, {})) job();
    return post_result::accepted;
  }
  std::vector<std::function<void()>> jobs;
};

// Returns: how many of the other keys get their work done while one is blocked, once that many have.
template <class Queue>
std::size_t done_beside_a_blocked_key(Queue& queue, std::size_t others, std::size_t at_least) {
  std::atomic<bool> release{false};
  std::atomic<bool> blocked{false};
  std::atomic<std::size_t> done{0};
  std::atomic<bool> over{false};
  const auto block = [&] {
    blocked = true;
    while (!release) std::this_thread::yield();
    over = true;
  };
  (void)queue.post(0, block);
  while (!blocked) std::this_thread::yield();
  for (std::size_t key = 1; key <= others; ++key) (void)queue.post(key, [&done] { ++done; });
  while (done < at_least) std::this_thread::yield();
  const std::size_t result = done;
  release = true;
  while (!over || done != others) std::this_thread::yield();
  return result;
}

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

TEST_CASE("The history of each key is linearizable: jobs run once, one at a time, in order") {
  for (const queue_options& options : all_ways()) {
    const verdict found = verdict_of_keys<ours>(options, support::rounds(4'000));
    CAPTURE(found.text());
    CHECK(found);
  }
  interlock::worker_pool pool({.threads = 2});
  const verdict found = verdict_of_keys<ours>({.executor = pool}, support::rounds(4'000));
  CAPTURE(found.text());
  CHECK(found);

  bool caught = false;  // by the same checks
  for (int i = 0; i < 300 && !caught; ++i) caught = !verdict_of_keys<without_keys>({}, 2'000);
  CHECK(caught);
}

TEST_CASE("A key that is blocked keeps no other key waiting; with hash lanes it does") {
  keyed_serial_queue<std::size_t, few_hashes> queue({.workers = 2});
  CHECK(done_beside_a_blocked_key(queue, 60, 60) == 60);
  queue.drain();
  hash_lanes naive(2);
  CHECK(done_beside_a_blocked_key(naive, 60, 30) == 30);  // the others share its lane
}

TEST_CASE("The destructor of a keyed queue loses no work; one that drops its list does") {
  const auto lost_by = [](auto make) {
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> ran{0};
    for (std::size_t round = 0; round < support::rounds(50); ++round) {
      auto queue = make();
      for (std::size_t i = 0; i < 200; ++i) {
        accepted += queue->post(i % 5, [&ran] { ++ran; }) == post_result::accepted;
      }
    }
    return accepted - ran;
  };
  using keeps = keyed_serial_queue<std::size_t>;
  CHECK(lost_by([] { return std::make_unique<keeps>(queue_options{}); }) == 0);
  CHECK(lost_by([] { return std::make_unique<keeps>(queue_options{.workers = 2}); }) == 0);
  CHECK(lost_by([] { return std::make_unique<drops>(); }) != 0);
}

namespace {

// What many threads did to a queue, and what became of it.
struct book {
  std::array<account, keys> accounts;
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::uint64_t> threw{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> answered{0};  // coroutines that went on
  std::atomic<std::uint64_t> asked{0};     // coroutines that began
  std::array<std::deque<interlock::inplace_stop_source>, most_threads> stops;
};

template <class Queue>
support::detached submits(Queue& queue, book& all, std::size_t key,
                          interlock::inplace_stop_token stop, bool awaits) {
  ++all.asked;
  try {
    if (awaits) {
      const auto got = co_await queue.submit(key, [&all]() -> interlock::task<void> {
        ++all.ran;
        co_return;
      }, stop);
      if (!got.ran()) ++all.refused;
    } else {
      const auto got = co_await queue.submit(key, [&all] {
        ++all.ran;
        throw std::runtime_error("thrown");
      }, stop);
      if (!got.ran()) ++all.refused;
    }
  } catch (const std::runtime_error&) {
    ++all.threw;
  }
  ++all.answered;
}

template <class Queue, class F>
support::detached posts(Queue& queue, book& all, std::size_t key, F record,
                        interlock::inplace_stop_token stop) {
  ++all.asked;
  const post_result how = co_await queue.async_post(key, record, stop);
  if (how != post_result::accepted) ++all.refused;
  ++all.answered;
}

// Those that a stop or a deadline ends, or that wait for a place.
template <class F>
post_result posts_and_waits(keyed_serial_queue<std::size_t, few_hashes>& queue, book& all,
                            std::size_t id, std::size_t key, std::uint64_t i, F record) {
  interlock::inplace_stop_source& stop = all.stops[id].emplace_back();
  const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 50);
  post_result how = post_result::accepted;
  switch (i % 5) {
    case 0: how = queue.post(key, record, stop.get_token()); break;
    case 1: how = queue.post_wait_until(soon, key, record, stop.get_token()); break;
    case 2:
      try {
        static_cast<void>(queue.submit_future(key, record));
      } catch (const std::system_error&) {
        how = post_result::full;
      }
      break;
    case 3: posts(queue, all, key, record, stop.get_token()); break;
    default: static_cast<void>(queue.drain_until(soon, key));
  }
  if (i % 2 == 0) stop.request_stop();
  return how;
}

void anything(keyed_serial_queue<std::size_t, few_hashes>& queue, book& all, std::size_t id,
              std::uint64_t rounds) {
  std::minstd_rand random(static_cast<unsigned>(id + 1));
  for (std::uint64_t i = 1; i <= rounds; ++i) {
    const std::size_t key = random() % keys;
    const auto record = [&all, &account = all.accounts[key], id, i] {
      account.record(id, i);
      ++all.ran;
      if (i % 7 == 0) throw std::runtime_error("thrown");
    };
    switch (random() % 10) {
      case 8:
      case 9:
        if (posts_and_waits(queue, all, id, key, i, record) != post_result::accepted) ++all.refused;
        break;
      case 0:
        try {
          queue.run(key, record);
        } catch (const std::runtime_error&) {  // also a refusal
          ++all.threw;
        }
        break;
      case 1:
        try {
          const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 50);
          if (!queue.run_until(soon, key, record).ran()) ++all.refused;
        } catch (const std::runtime_error&) {
          ++all.threw;
        }
        break;
      case 2: queue.cancel_pending(key); break;
      case 3:
        if (i % 64 == 0) queue.cancel_pending();
        break;
      case 4: {
        interlock::inplace_stop_source& stop = all.stops[id].emplace_back();
        submits(queue, all, key, stop.get_token(), i % 2 == 0);
        if (i % 3 == 0) stop.request_stop();
        break;
      }
      case 5:
        queue.close(key);
        queue.reopen(key);
        break;
      default:
        if ((i % 2 == 0 ? queue.post(key, record) : queue.post_droppable(key, record)) !=
            post_result::accepted) {
          ++all.refused;
        }
    }
  }
}

}  // namespace

TEST_CASE("Anything at a time: every task has one end, each is told, and the queue may go") {
  for (const queue_options& how : all_ways()) {
    queue_options options = how;
    options.on_error = [](const std::exception_ptr&) {};
    for (std::size_t round = 0; round < support::rounds(20); ++round) {
      options.metrics = round % 3 != 0;
      options.capacity = round % 2 == 0 ? SIZE_MAX : 3;
      options.full = interlock::when_full::drop_oldest;
      book all;
      auto queue = std::make_unique<keyed_serial_queue<std::size_t, few_hashes>>(options);
      support::run_threads(4, [&](std::size_t id) { anything(*queue, all, id, 500); });
      if (round % 2 == 0) queue->drain();
      queue->close();
      queue->drain();
      const auto stats = queue->stats();
      CHECK(queue->metrics().depth == 0);
      queue.reset();
      CHECK(stats.accepted == stats.completed + stats.failed + stats.cancelled + stats.dropped);
      if (options.capacity == SIZE_MAX) CHECK(stats.dropped == 0);
      CHECK(stats.completed + stats.failed == all.ran);
      std::uint64_t out_of_order = 0;
      for (const account& each : all.accounts) out_of_order += each.out_of_order;
      CHECK(out_of_order == 0);
      while (all.answered != all.asked) std::this_thread::yield();
    }
  }
}
