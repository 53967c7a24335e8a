// SPDX-License-Identifier: BSL-1.0
// Tasks that change threads: sync_wait and when_all must see what was done elsewhere, stops arrive
// or come too late.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::current_stop_token;
using interlock::inplace_stop_source;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

// A foreign event loop: two threads that resume what they are given, outside any trampoline.
class pool {
public:
  pool() {
    for (std::thread& worker : workers_) worker = std::thread([this] { work(); });
  }
  ~pool() {
    {
      const std::lock_guard lock(guard_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  auto hop() {
    struct awaiter {
      pool& where;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> self) { where.post(self); }
      void await_resume() const noexcept {}
    };
    return awaiter{*this};
  }

private:
  void post(std::coroutine_handle<> ready) {
    const std::lock_guard lock(guard_);
    line_.push_back(ready);
    changed_.notify_one();  // under the lock: the pool may be gone once the coroutine has run
  }
  void work() {
    std::unique_lock lock(guard_);
    while (true) {
      changed_.wait(lock, [this] { return closed_ || !line_.empty(); });
      if (line_.empty()) return;
      const std::coroutine_handle<> ready = line_.front();
      line_.pop_front();
      lock.unlock();
      ready.resume();
      lock.lock();
    }
  }

  std::mutex guard_;
  std::condition_variable changed_;
  std::deque<std::coroutine_handle<>> line_;
  bool closed_ = false;
  std::thread workers_[2];
};

task<std::uint64_t> sum_here_and_there(pool& there, std::uint64_t depth) {
  if (depth == 0) co_return 0;
  if (depth % 3 == 0) co_await there.hop();
  if (depth % 5 == 0) co_await reschedule();
  const std::uint64_t below = co_await sum_here_and_there(there, depth - 1);
  if (depth % 4 == 0) co_await there.hop();
  co_return below + depth;
}

task<> write_there(pool& there, std::uint64_t& to, std::uint64_t value) {
  co_await there.hop();
  to = value;
}

// Waits for its turn there until it is stopped.
task<int> lock_until_stopped(pool& there, interlock::async_mutex& door) {
  const auto stop = co_await current_stop_token();
  int turns = 0;
  while (!stop.stop_requested()) {
    co_await there.hop();
    const auto held = co_await door.lock(stop);
    if (held) ++turns;
  }
  co_return turns;
}

task<int> throw_there(pool& there, int value) {
  co_await there.hop();
  if (value % 2 == 0) throw std::runtime_error("even");
  co_return value;
}

}  // namespace

TEST_CASE("a chain of tasks that hops between threads adds up") {
  const std::size_t rounds = support::rounds(10'000);
  std::atomic<std::size_t> wrong{0};
  pool there;
  support::run_threads(4, [&](std::size_t) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (sync_wait(sum_here_and_there(there, 20)) != 210) wrong.fetch_add(1);
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("when_all sees what its tasks did on other threads") {
  const std::size_t rounds = support::rounds(10'000);
  std::atomic<std::size_t> wrong{0};
  pool there;
  support::run_threads(2, [&](std::size_t) {
    for (std::size_t round = 0; round < rounds; ++round) {
      std::vector<std::uint64_t> written(10, 0);
      std::vector<task<>> tasks;
      for (std::size_t i = 0; i < 10; ++i) tasks.push_back(write_there(there, written[i], i + 1));
      sync_wait(when_all(std::move(tasks)));
      for (std::size_t i = 0; i < 10; ++i) {
        if (written[i] != i + 1) wrong.fetch_add(1);
      }
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("exceptions of tasks on other threads arrive") {
  const std::size_t rounds = support::rounds(10'000);
  std::size_t caught = 0;
  pool there;
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<task<int>> tasks;
    for (int i = 1; i <= 4; ++i) tasks.push_back(throw_there(there, i));
    try {
      sync_wait(when_all(std::move(tasks)));
    } catch (const std::runtime_error&) {
      ++caught;
    }
  }
  CHECK(caught == rounds);
}

TEST_CASE("a failure elsewhere stops those who wait, and is the one that is thrown") {
  const std::size_t rounds = support::rounds(500);
  std::atomic<std::size_t> wrong{0};
  pool there;
  support::run_threads(2, [&](std::size_t) {
    interlock::async_mutex door;
    for (std::size_t round = 0; round < rounds; ++round) {
      try {
        sync_wait(when_all(lock_until_stopped(there, door), lock_until_stopped(there, door),
                           throw_there(there, 2)));
        wrong.fetch_add(1);
      } catch (const std::runtime_error&) {
      }
      if (!door.try_lock()) wrong.fetch_add(1);
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("a stop from another thread ends those who wait, or comes when they have ended") {
  const std::size_t rounds = support::rounds(1'000);
  std::atomic<std::size_t> wrong{0};
  std::deque<inplace_stop_source> sources(rounds);  // they outlive both threads
  std::atomic<std::size_t> begun{0};
  pool there;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 0; i < rounds; ++i) {
        for (std::size_t seen = 0; (seen = begun.load()) <= i;) begun.wait(seen);
        sources[i].request_stop();
      }
      return;
    }
    interlock::async_mutex door;
    for (std::size_t i = 0; i < rounds; ++i) {
      begun.store(i + 1);
      begun.notify_one();
      if (i % 2 == 0) {
        sync_wait(when_all(when_all(lock_until_stopped(there, door)),
                           lock_until_stopped(there, door)),
                  sources[i].get_token());
      } else {
        sync_wait(when_all(there.hop(), when_all(there.hop(), reschedule())),
                  sources[i].get_token());
      }
      if (!door.try_lock()) wrong.fetch_add(1);
    }
  });
  CHECK(wrong == 0);
}
