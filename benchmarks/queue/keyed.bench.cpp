// SPDX-License-Identifier: BSL-1.0
// A queue for each key, and what people write instead.

#include <interlock/keyed_serial_queue.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "queue/posts.hpp"

namespace queues {
namespace {

template <std::size_t Workers>
struct keyed_queue {
  static constexpr bool in_place = Workers == 0;
  interlock::keyed_serial_queue<std::uint64_t> queue{{.workers = Workers}};
  template <class Task>
  void post(std::uint64_t key, const Task& task) {
    benchmark::DoNotOptimize(queue.post(key, task));
  }
};

// In place, and not exact: keys that share a stripe wait for each other.
struct striped_mutexes {
  static constexpr bool in_place = true;
  struct alignas(64) stripe {
    std::mutex mutex;
  };
  std::array<stripe, 256> stripes;
  template <class Task>
  void post(std::uint64_t key, const Task& task) {
    const std::lock_guard lock(stripes[key % stripes.size()].mutex);
    task();
  }
};

// Two workers, each with half of the keys: a long task holds up half of all.
struct two_partitions {
  static constexpr bool in_place = false;
  class partition {
  public:
    ~partition() {
      {
        const std::lock_guard lock(mutex_);
        done_ = true;
      }
      more_.notify_one();
      thread_.join();
    }
    void post(const account_work& task) {
      bool first = false;
      {
        const std::lock_guard lock(mutex_);
        first = tasks_.empty();
        tasks_.push_back(task);
      }
      if (first) more_.notify_one();
    }

  private:
    void work() {
      std::vector<account_work> taken;
      for (std::unique_lock lock(mutex_);;) {
        more_.wait(lock, [this] { return done_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        taken.swap(tasks_);
        lock.unlock();
        for (const account_work& task : taken) task();
        taken.clear();
        lock.lock();
      }
    }
    std::mutex mutex_;
    std::condition_variable more_;
    std::vector<account_work> tasks_;
    bool done_ = false;
    std::thread thread_{[this] { work(); }};
  };
  std::array<partition, 2> parts;
  void post(std::uint64_t key, const account_work& task) { parts[key % 2].post(task); }
};

// One mutex, a deque for each key that has work, two workers.
class map_of_deques {
public:
  static constexpr bool in_place = false;
  ~map_of_deques() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    more_.notify_all();
    for (std::thread& each : threads_) each.join();
  }
  template <class Task>
  void post(std::uint64_t key, const Task& task) {
    {
      const std::lock_guard lock(mutex_);
      auto& line = lines_[key];
      line.emplace_back(task);
      if (line.size() != 1) return;  // it has a worker, or waits for one
      ready_.push_back(key);
    }
    more_.notify_one();
  }

private:
  void work() {
    for (std::unique_lock lock(mutex_);;) {
      more_.wait(lock, [this] { return done_ || !ready_.empty(); });
      if (ready_.empty()) return;
      const std::uint64_t key = ready_.front();
      ready_.pop_front();
      const std::function<void()> task = lines_.find(key)->second.front();
      lock.unlock();
      task();
      lock.lock();
      const auto line = lines_.find(key);
      line->second.pop_front();
      if (line->second.empty()) {
        lines_.erase(line);
      } else {
        ready_.push_back(key);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::unordered_map<std::uint64_t, std::deque<std::function<void()>>> lines_;
  std::deque<std::uint64_t> ready_;
  bool done_ = false;
  std::array<std::thread, 2> threads_{std::thread([this] { work(); }),
                                      std::thread([this] { work(); })};
};

const bench::contenders here([] {
  add_keyed<keyed_queue<0>>("interlock::keyed_serial_queue");
  add_keyed<keyed_queue<2>>("interlock::keyed_serial_queue, 2 workers");
  add_keyed<striped_mutexes>("std::mutex of 256, in place");
  add_keyed<two_partitions>("std::vector swapped, 2 partitions");
  add_keyed<map_of_deques>("std::unordered_map of deques, 2 workers");
});

}  // namespace
}  // namespace queues
