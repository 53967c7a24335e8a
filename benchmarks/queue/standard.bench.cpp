// SPDX-License-Identifier: BSL-1.0
// What people write by hand: a mutex, or a thread with a queue.

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>

#include "queue/posts.hpp"

namespace queues {
namespace {

// The section itself, which remembers no order and never hands anything over.
struct mutex_section {
  static constexpr bool in_place = true;
  std::mutex mutex;
  template <class Task>
  void post(const Task& task) {
    const std::lock_guard lock(mutex);
    task();
  }
};

// The deque of most code: a notification for each post, a lock for each task.
class deque_worker {
public:
  static constexpr bool in_place = false;
  ~deque_worker() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    more_.notify_one();
    thread_.join();
  }
  template <class Task>
  void post(const Task& task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.emplace_back(task);
    }
    more_.notify_one();
  }

private:
  void work() {
    for (std::unique_lock lock(mutex_);;) {
      more_.wait(lock, [this] { return done_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> tasks_;
  bool done_ = false;
  std::thread thread_{[this] { work(); }};
};

// The best of those: the worker takes all that is there, and is told only if there was nothing.
class swap_worker {
public:
  static constexpr bool in_place = false;
  ~swap_worker() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    more_.notify_one();
    thread_.join();
  }
  template <class Task>
  void post(const Task& task) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = tasks_.empty();
      tasks_.emplace_back(task);
    }
    if (first) more_.notify_one();
  }

private:
  void work() {
    std::vector<std::function<void()>> taken;
    for (std::unique_lock lock(mutex_);;) {
      more_.wait(lock, [this] { return done_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      taken.swap(tasks_);
      lock.unlock();
      for (const auto& task : taken) task();
      taken.clear();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<std::function<void()>> tasks_;
  bool done_ = false;
  std::thread thread_{[this] { work(); }};
};

// A caller that wants the answer, with a promise.
struct promise_to_deque_worker {
  static constexpr bool in_place = false;
  deque_worker worker;
  template <class Task>
  void post(const Task& task) {
    std::promise<void> done;
    worker.post([task, &done] {
      task();
      done.set_value();
    });
    done.get_future().get();
  }
};

const bench::contenders here([] {
  add_run<mutex_section>("std::mutex section");
  add_run<promise_to_deque_worker>("std::deque, a worker, std::promise");
  add_posts<mutex_section>("std::mutex section");
  add_posts<deque_worker>("std::deque, a worker");
  add_posts<swap_worker>("std::vector swapped, a worker");
});

}  // namespace
}  // namespace queues
