// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue: each guarantee, each way to run the work, keys, bounds, errors, lifetime.

#include <interlock/keyed_serial_queue.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/code_of.hpp"
#include "support/occupied.hpp"
#include "support/death.hpp"
#include "support/threads.hpp"

using interlock::keyed_serial_queue;
using interlock::post_result;
using interlock::queue_options;
using interlock::when_full;
using support::code_of;
using support::occupied;

namespace {

// The simplest executor: a thread for each job.
class thread_per_job {
public:
  ~thread_per_job() {
    // A job that has hired another may still be in execute() when the queue is gone already.
    std::unique_lock lock(guard_);
    while (!started_.empty()) {
      std::thread thread = std::move(started_.back());
      started_.pop_back();
      lock.unlock();
      thread.join();
      lock.lock();
    }
  }
  void execute(std::function<void()> job) {
    const std::lock_guard lock(guard_);
    started_.emplace_back(std::move(job));
  }

private:
  std::mutex guard_;
  std::vector<std::thread> started_;
};

// The work is done by the callers, by workers, by an executor.
template <class F>
void each_way(F f) {
  f(queue_options{});
  f(queue_options{.workers = 2});
  thread_per_job pool;
  queue_options by_executor;
  by_executor.executor = std::ref(pool);
  f(by_executor);
}

template <class Queue>
void check_sums(const Queue& queue) {
  const interlock::queue_stats stats = queue.stats();
  CHECK(stats.accepted == stats.completed + stats.failed + stats.cancelled);
}

struct same_hash {  // every key collides with every other
  std::size_t operator()(int) const noexcept { return 42; }
};

}  // namespace

TEST_CASE("keyed_serial_queue cannot be copied or moved") {
  static_assert(!std::is_copy_constructible_v<keyed_serial_queue<int>>);
  static_assert(!std::is_move_constructible_v<keyed_serial_queue<int>>);
  SUCCEED();
}

TEST_CASE("No two tasks of one key run at the same time") {
  each_way([](const queue_options& options) {
    constexpr int keys = 5;
    std::array<std::size_t, keys> total{};  // unsynchronised on purpose
    keyed_serial_queue<int> queue(options);
    const int each = static_cast<int>(support::rounds(5'000));
    support::run_threads(4, [&](std::size_t id) {
      for (int i = 0; i < each; ++i) {
        const auto key = static_cast<std::size_t>(i % keys);
        if (id % 2 == 0) {
          queue.run(i % keys, [&total, key] { ++total[key]; });
        } else {
          (void)queue.post(i % keys, [&total, key] { ++total[key]; });
        }
      }
    });
    queue.drain();
    std::size_t sum = 0;
    for (const std::size_t n : total) sum += n;
    CHECK(sum == 4 * static_cast<std::size_t>(each));
    check_sums(queue);
  });
}

TEST_CASE("Queued tasks of a key run in the order in which they were queued") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<std::string> queue(options);
    std::vector<int> ran;
    occupied busy(queue, std::string("k"));
    std::binary_semaphore a_posted{0};
    std::thread a([&] {
      for (int i = 0; i < 10; ++i) (void)queue.post("k", [&ran, i] { ran.push_back(i); });
      a_posted.release();
    });
    std::thread b([&] {
      a_posted.acquire();
      for (int i = 10; i < 20; ++i) (void)queue.post("k", [&ran, i] { ran.push_back(i); });
    });
    a.join();
    b.join();
    busy.release();
    queue.run("k", [&] { ran.push_back(20); });
    std::vector<int> expected;
    for (int i = 0; i <= 20; ++i) expected.push_back(i);
    CHECK(ran == expected);
  });
}

TEST_CASE("Tasks of different keys run at the same time if there is a thread for each") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int, same_hash> queue(options);  // not even if their hashes are equal
    occupied busy(queue, 1);
    int ran = 0;
    queue.run(2, [&] { ++ran; });
    CHECK(queue.post(3, [&] { ++ran; }) == post_result::accepted);
    queue.drain(3);
    queue.drain(2);
    queue.drain(4);
    CHECK(queue.try_run(4, [&] { ++ran; }));
    CHECK_FALSE(queue.try_run(1, [&] { ++ran; }));
    CHECK(ran == 3);
  });

  // Each task ends only if the other one has begun. Two workers, one task each.
  keyed_serial_queue<int, same_hash> queue({.workers = 2});
  std::array<std::binary_semaphore, 2> begun{std::binary_semaphore(0), std::binary_semaphore(0)};
  for (const std::size_t own : {std::size_t{0}, std::size_t{1}}) {
    const post_result posted = queue.post(static_cast<int>(own), [&begun, own] {
      begun[own].release();
      begun[1 - own].acquire();
    });
    CHECK(posted == post_result::accepted);
  }
  queue.drain();
  CHECK(queue.stats().completed == 2);
}

TEST_CASE("What a keyed task returns or throws reaches the caller of run or submit") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    std::array<bool, 4> right{};
    support::run_threads(4, [&](std::size_t id) {
      int cell = 0;
      bool all = true;
      for (int i = 0; i < 200; ++i) {
        all = all && queue.run(1, [] { return 42; }) == 42;
        all = all && *queue.run(1, [] { return std::make_unique<int>(5); }) == 5;
        all = all && &queue.run(1, [&]() -> int& { return cell; }) == &cell;
        try {
          queue.run(1, [] { throw std::runtime_error("from run"); });
          all = false;
        } catch (const std::runtime_error& e) {
          all = all && std::string(e.what()) == "from run";
        }
      }
      right[id] = all;
    });
    for (const bool r : right) CHECK(r);
    queue.drain();
    CHECK(queue.stats().failed == 800);
    check_sums(queue);
  });
}

TEST_CASE("Every accepted keyed task runs to its end unless it is cancelled") {
  each_way([](const queue_options& options) {
    std::atomic<std::size_t> accepted{0};
    std::atomic<std::size_t> ran{0};
    {
      keyed_serial_queue<int> queue(options);
      support::run_threads(4, [&](std::size_t) {
        for (int i = 0; i < static_cast<int>(support::rounds(2'000)); ++i) {
          if (queue.post(i % 7, [&] { ++ran; }) == post_result::accepted) ++accepted;
        }
      });
    }
    CHECK(accepted > 0);
    CHECK(ran == accepted);
  });
}

TEST_CASE("Keys without work are forgotten") {
  keyed_serial_queue<int> queue;
  for (int i = 0; i < 10'000; ++i) queue.run(i, [&] { CHECK(queue.active_keys_approx() == 1); });
  CHECK(queue.active_keys_approx() == 0);
  {
    occupied one(queue, 1);
    occupied two(queue, 2);
    CHECK(queue.active_keys_approx() == 2);
  }
  CHECK(queue.active_keys_approx() == 0);
}

TEST_CASE("A closed keyed queue refuses and keeps what it accepted") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    std::atomic<int> ran{0};
    {
      occupied busy(queue, 1);
      (void)queue.post(1, [&] { ++ran; });
      CHECK_FALSE(queue.closed());
      queue.close();
      CHECK(queue.closed());
      CHECK(queue.post(1, [&] { ++ran; }) == post_result::closed);
      CHECK(queue.post(2, [&] { ++ran; }) == post_result::closed);
      CHECK_FALSE(queue.try_run(2, [&] { ++ran; }));
      CHECK(code_of([&] { queue.run(1, [] {}); }) == std::errc::broken_pipe);
      CHECK(code_of([&] { queue.run(2, [] {}); }) == std::errc::broken_pipe);
    }
    queue.drain(1);
    CHECK(ran == 1);
  });
}

TEST_CASE("A keyed task that waits for its own key gets an error, for another key it may wait") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    constexpr auto deadlock = std::errc::resource_deadlock_would_occur;
    const auto code = queue.run(1, [&] {
      return std::array{code_of([&] { queue.run(1, [] {}); }), code_of([&] { queue.drain(1); }),
                        code_of([&] { queue.drain(); }),
                        code_of([&] { queue.run(2, [&] { queue.run(1, [] {}); }); }),
                        code_of([&] { queue.run(2, [] {}); })};
    });
    CHECK(code == std::array{deadlock, deadlock, deadlock, deadlock, std::errc{}});
    check_sums(queue);
  });
}

TEST_CASE("The bounds of a keyed queue hold for each key and for all") {
  each_way([](const queue_options& options) {
    queue_options bounded = options;
    bounded.capacity = 2;
    keyed_serial_queue<int> queue(bounded, {.total = 3});
    std::atomic<int> ran{0};
    const auto task = [&] { ++ran; };
    {
      occupied one(queue, 1);
      occupied two(queue, 2);
      CHECK(queue.post(1, task) == post_result::accepted);
      CHECK(queue.post(1, task) == post_result::accepted);
      CHECK(queue.post(1, task) == post_result::full);
      CHECK(queue.post(2, task) == post_result::accepted);
      CHECK(queue.post(2, task) == post_result::full);
      CHECK(queue.active_keys_approx() == 2);
    }
    queue.drain();
    CHECK(ran == 3);
    {
      occupied one(queue, 1);
      CHECK(queue.post(1, task) == post_result::accepted);  // the places are free again
      CHECK(queue.post(1, task) == post_result::accepted);
    }
    queue.drain();
    CHECK(ran == 5);
    check_sums(queue);
  });
  using queue_of_int = keyed_serial_queue<int>;
  CHECK_THROWS_AS(queue_of_int(queue_options{.capacity = 0}), std::invalid_argument);
  CHECK_THROWS_AS(queue_of_int(queue_options{.quantum = 0}), std::invalid_argument);
  CHECK_THROWS_AS(queue_of_int(queue_options{}, {.total = 0}), std::invalid_argument);
  CHECK_THROWS_AS(queue_of_int(queue_options{.workers = 1, .executor = [](auto job) { job(); }}),
                  std::invalid_argument);
}

TEST_CASE("A full keyed queue that blocks makes post wait for a place") {
  each_way([](queue_options options) {
    options.capacity = 1;
    options.full = when_full::block;
    keyed_serial_queue<int> queue(options);
    std::vector<int> ran;
    {
      occupied busy(queue, 1);
      (void)queue.post(1, [&] { ran.push_back(1); });
      std::thread poster([&] { (void)queue.post(1, [&] { ran.push_back(2); }); });
      busy.release();
      poster.join();
    }
    queue.drain();
    CHECK(ran == std::vector<int>{1, 2});
    const std::errc code = queue.run(1, [&] {
      (void)queue.post(1, [] {});
      return code_of([&] { (void)queue.post(1, [] {}); });
    });
    CHECK(code == std::errc::resource_deadlock_would_occur);
  });
}

TEST_CASE("cancel_pending of a keyed queue ends what has not started") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    std::atomic<int> ran{0};
    {
      occupied one(queue, 1);
      occupied two(queue, 2);
      (void)queue.post(1, [&] { ++ran; });
      (void)queue.post(2, [&] { ++ran; });
      (void)queue.post(2, [&] { ++ran; });
      queue.cancel_pending();
      (void)queue.post(1, [&] { ran += 100; });
    }
    queue.drain();
    CHECK(ran == 100);
    CHECK(queue.stats().cancelled == 3);
    check_sums(queue);
  });
}

TEST_CASE("A task may post to its own key and does not recurse") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    const int depth = static_cast<int>(support::rounds(options.executor ? 1'000 : 50'000));
    int ran = 0;
    bool nested = false;
    std::atomic<bool> over{false};
    std::function<void()> again = [&] {
      if (nested) ran = -depth;
      nested = true;
      if (++ran < depth) {
        (void)queue.post(1, again);
      } else {
        over = true;
      }
      nested = false;
    };
    (void)queue.post(1, again);
    while (!over) std::this_thread::yield();
    queue.drain();
    CHECK(ran == depth);
  });
}

TEST_CASE("One worker is enough for many keys, and a hot key does not keep it") {
  keyed_serial_queue<int> queue({.quantum = 8, .workers = 1});
  std::atomic<bool> other_ran{false};
  long hot = 0;
  std::function<void()> endless = [&] {
    ++hot;
    if (!other_ran && hot < 50'000'000) (void)queue.post(1, endless);
  };
  (void)queue.post(1, endless);
  (void)queue.post(2, [&] { other_ran = true; });
  queue.drain(2);
  CHECK(other_ran);
  queue.drain();
}

TEST_CASE("What a posted keyed task throws goes to on_error") {
  each_way([](queue_options options) {
    std::atomic<int> errors{0};
    options.on_error = [&](const std::exception_ptr&) { ++errors; };
    keyed_serial_queue<int> queue(options);
    for (int i = 0; i < 10; ++i) (void)queue.post(i, [] { throw std::runtime_error("x"); });
    queue.drain();
    CHECK(errors == 10);
    CHECK(queue.stats().failed == 10);
  });
}

TEST_CASE("A task whose copy throws was not accepted and leaves the keyed queue usable") {
  struct bad_copy {
    bad_copy() = default;
    bad_copy(const bad_copy&) { throw std::runtime_error("copy"); }
    void operator()() const {}
  };
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    const bad_copy task;
    CHECK_THROWS_AS(queue.post(1, task), std::runtime_error);
    {
      occupied busy(queue, 1);
      CHECK_THROWS_AS(queue.post(1, task), std::runtime_error);
    }
    CHECK(queue.run(1, [] { return 4; }) == 4);
    queue.drain();
    CHECK(queue.stats().accepted == 2);
    CHECK(queue.active_keys_approx() == 0);
    check_sums(queue);
  });
}

TEST_CASE("Keys and functions of a keyed queue may be the caller's own types") {
  struct account {
    std::string bank;
    int number;
    bool operator==(const account&) const = default;
  };
  struct hash {
    std::size_t operator()(const account& a) const noexcept {
      return std::hash<std::string>()(a.bank) + static_cast<std::size_t>(a.number);
    }
  };
  keyed_serial_queue<account, hash> queue({.workers = 1});
  auto data = std::make_unique<int>(4);
  int seen = 0;
  CHECK(queue.post({"north", 1}, [&seen, d = std::move(data)] { seen = *d; }) ==
        post_result::accepted);
  queue.drain({"north", 1});
  CHECK(seen == 4);
  CHECK(queue.try_run({"south", 1}, [] { return std::make_unique<int>(2); }).has_value());
}

TEST_CASE("When the executor takes no key the thread that asked does the work") {
  int errors = 0;
  queue_options options;
  options.executor = [](const std::function<void()>&) { throw std::runtime_error("pool is gone"); };
  options.on_error = [&](const std::exception_ptr&) { ++errors; };
  keyed_serial_queue<int> queue(options);
  int ran = 0;
  for (int i = 0; i < 3; ++i) CHECK(queue.post(i % 2, [&] { ++ran; }) == post_result::accepted);
  CHECK(queue.run(0, [&] { return queue.post(0, [&] { ++ran; }); }) == post_result::accepted);
  CHECK(ran == 4);
  CHECK(errors >= 4);
  CHECK(queue.active_keys_approx() == 0);
}

TEST_CASE("A keyed queue may be destroyed right after its last use") {
  each_way([](const queue_options& options) {
    for (std::size_t i = 0; i < support::rounds(100); ++i) {
      auto queue = std::make_unique<keyed_serial_queue<int>>(options);
      std::atomic<int> ran{0};
      std::thread other([&] {
        for (int k = 0; k < 5; ++k) (void)queue->post(k % 2, [&] { ++ran; });
        queue->run(1, [&] { ++ran; });
      });
      queue->run(1, [&] { ++ran; });
      other.join();
      queue.reset();
      REQUIRE(ran == 7);
    }
  });
}

TEST_CASE("Destroying a keyed queue from its own task ends the program with a sentence") {
  const std::string message = support::death_message([] {
    auto* const queue = new keyed_serial_queue<int>;
    queue->run(1, [&] { delete queue; });
  });
  CHECK(message.find("called by a task of this queue") != std::string::npos);
}
