// SPDX-License-Identifier: BSL-1.0
// Our queues: the callers do the work, or a worker of the queue.

#include <interlock/serial_lane.hpp>
#include <interlock/serial_queue.hpp>

#include "queue/posts.hpp"

namespace queues {
namespace {

struct callers {
  static constexpr bool in_place = true;
  interlock::serial_queue queue;
  template <class Task>
  void post(const Task& task) {
    benchmark::DoNotOptimize(queue.post(task));
  }
};

struct run_in_queue {
  static constexpr bool in_place = true;
  interlock::serial_queue queue;
  template <class Task>
  void post(const Task& task) {
    queue.run(task);
  }
};

struct run_in_lane {
  static constexpr bool in_place = true;
  interlock::serial_lane lane;
  template <class Task>
  void post(const Task& task) {
    lane.run(task);
  }
};

struct worker {
  static constexpr bool in_place = false;
  interlock::serial_queue queue{{.workers = 1}};
  template <class Task>
  void post(const Task& task) {
    benchmark::DoNotOptimize(queue.post(task));
  }
};

// What a caller that wants the answer pays if a worker does the work.
struct run_by_worker : worker {
  template <class Task>
  void post(const Task& task) {
    queue.run(task);
  }
};

const bench::contenders here([] {
  add_run<run_in_queue>("interlock::serial_queue");
  add_run<run_in_lane>("interlock::serial_lane");
  add_run<run_by_worker>("interlock::serial_queue, a worker");
  add_posts<callers>("interlock::serial_queue");
  add_posts<worker>("interlock::serial_queue, a worker");
});

}  // namespace
}  // namespace queues
