// SPDX-License-Identifier: BSL-1.0
// What our queues answer to the probes; the same lines are in docs/queue-comparison.md.

#include <condition_variable>
#include <mutex>

#include "benchmarks/queue/probes/interlock.hpp"
#include "support/catch.hpp"

namespace {

using probes::milliseconds;

// What a queue can do wrong: the newest first, and what a task throws is lost.
class newest_first {
public:
  ~newest_first() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    more_.notify_one();
    thread_.join();
  }
  void post(const probes::function& f) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(f);
    }
    more_.notify_one();
  }
  void call(const probes::function& f) {
    std::atomic<bool> done{false};
    post([&] {
      f();
      done = true;
    });
    probes::until([&] { return done.load(); });
  }
  bool told() const { return false; }

private:
  void work() {
    for (std::unique_lock lock(mutex_);;) {
      more_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (over_) return;
      const probes::function task = std::move(tasks_.back());
      tasks_.pop_back();
      lock.unlock();
      try {
        task();
      } catch (...) {
      }
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<probes::function> tasks_;
  bool over_ = false;
  std::thread thread_{[this] { work(); }};
};

// Runs the first task, and forgets what came meanwhile.
struct runs_one {
  std::atomic<int> posted{0};
  void post(const probes::function& f) {
    if (posted++ == 0) f();
  }
};

// Serves the second lane while the first one is empty, which one that posts to itself never is.
class first_lane_first {
public:
  void post(int lane, const probes::function& f) {
    {
      const std::lock_guard lock(mutex_);
      (lane == 0 ? first_ : second_).push_back(f);
    }
    more_.notify_one();
  }

private:
  void work() {
    for (std::unique_lock lock(mutex_);;) {
      more_.wait(lock, [this] { return !first_.empty() || !second_.empty(); });
      auto& lane = first_.empty() ? second_ : first_;
      const probes::function task = std::move(lane.back());
      lane.pop_back();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<probes::function> first_;
  std::vector<probes::function> second_;
  std::thread thread_{[this] { work(); }};  // goes with the child
};

std::string ends_the_process() {
  ::raise(SIGKILL);
  return "";
}

TEST_CASE("our queues keep order, report what throws and who waits for itself, and lose nothing") {
  probes::limit = milliseconds(120'000);  // how long they take is no question here
  probes::patience = milliseconds(60'000);
  std::vector<std::string> said;
  for (const probes::report& each : probes::ask_ours()) said.push_back(probes::line_of(each));
  const std::vector<std::string> expected{
      "| Interlock: serial_queue, callers | kept | in its turn "
      "| reported, the next runs | an error | all 500 run | has its own thread |",
      "| Interlock: serial_queue, a worker | kept | in its turn "
      "| reported, the next runs | an error | all 500 run | has its own thread |",
      "| Interlock: serial_queue, worker_pool | kept | in its turn "
      "| reported, the next runs | an error | all 500 run | the other runs |",
      "| Interlock: keyed_serial_queue | kept | in its turn "
      "| reported, the next runs | an error | all 500 run | the other runs |"
  };
  REQUIRE(said == expected);
}

TEST_CASE("the probes find a queue that does it wrong") {
  using probes::in_child;
  probes::limit = milliseconds(120'000);
  probes::patience = milliseconds(60'000);
  REQUIRE(in_child(probes::order_across_producers<newest_first>).starts_with("broken"));
  REQUIRE(in_child(probes::reentrant_post<newest_first>) == "overtakes");
  REQUIRE(in_child(probes::task_that_throws<newest_first>) == "swallowed, the next runs");
  REQUIRE(in_child(probes::destroyed_with_work<runs_one>) == "500 of 500 have not run");
  probes::limit = milliseconds(500);
  REQUIRE(in_child(probes::wait_from_inside<newest_first>) == "hangs");
  REQUIRE(in_child(ends_the_process) == "the process ends");
}

TEST_CASE("the probes find a lane that starves") {
  probes::limit = milliseconds(120'000);
  probes::patience = milliseconds(500);
  REQUIRE(probes::in_child(probes::starvation<first_lane_first>) == "starves");
}

}  // namespace
