// SPDX-License-Identifier: BSL-1.0
// moodycamel's queue with a worker. It keeps the order of each producer only.

#include <blockingconcurrentqueue.h>

#include "queue/posts.hpp"

namespace queues {
namespace {

class concurrent_queue_worker {
public:
  static constexpr bool in_place = false;
  ~concurrent_queue_worker() {
    tasks_.enqueue({});
    thread_.join();
  }
  template <class Task>
  void post(const Task& task) {
    tasks_.enqueue(std::function<void()>(task));
  }

private:
  void work() {
    for (std::function<void()> task;;) {
      tasks_.wait_dequeue(task);
      if (!task) return;
      task();
    }
  }

  moodycamel::BlockingConcurrentQueue<std::function<void()>> tasks_;
  std::thread thread_{[this] { work(); }};
};

const bench::contenders here([] {
  add_run<concurrent_queue_worker>("moodycamel ConcurrentQueue, a worker, and spin");
  add_posts<concurrent_queue_worker>("moodycamel ConcurrentQueue, a worker");
});

}  // namespace
}  // namespace queues
