// SPDX-License-Identifier: BSL-1.0
#pragma once

// Our queues as subjects of the probes.

#include <interlock/keyed_serial_queue.hpp>
#include <interlock/serial_queue.hpp>
#include <interlock/worker_pool.hpp>

#include "benchmarks/queue/probes/probes.hpp"

namespace probes {

using function = std::function<void()>;

inline interlock::queue_options telling(std::atomic<bool>& told) {
  return {.on_error = [&told](const std::exception_ptr&) { told = true; }};
}

struct queue_of_callers {
  static constexpr const char* name = "Interlock: serial_queue, callers";
  std::atomic<bool> told_{false};
  interlock::serial_queue queue{telling(told_)};
  void post(const function& f) { static_cast<void>(queue.post(f)); }
  void call(const function& f) { queue.run(f); }
  bool told() const { return told_; }
};

struct queue_with_worker {
  static constexpr const char* name = "Interlock: serial_queue, a worker";
  std::atomic<bool> told_{false};
  static interlock::queue_options options(std::atomic<bool>& told) {
    auto how = telling(told);
    how.workers = 1;
    return how;
  }
  interlock::serial_queue queue{options(told_)};
  void post(const function& f) { static_cast<void>(queue.post(f)); }
  void call(const function& f) { queue.run(f); }
  bool told() const { return told_; }
};

struct queue_on_pool {
  static constexpr const char* name = "Interlock: serial_queue, worker_pool";
  std::atomic<bool> told_{false};
  interlock::worker_pool pool{{.threads = 1}};
  static interlock::queue_options options(std::atomic<bool>& told, interlock::worker_pool& pool) {
    auto how = telling(told);
    how.executor = pool;
    return how;
  }
  interlock::serial_queue queue{options(told_, pool)};
  void post(const function& f) { static_cast<void>(queue.post(f)); }
  void call(const function& f) { queue.run(f); }
  bool told() const { return told_; }
};

struct two_queues_on_pool {
  interlock::worker_pool pool{{.threads = 1}};
  interlock::serial_queue first{{.executor = pool}};
  interlock::serial_queue second{{.executor = pool}};
  void post(int lane, const function& f) {
    static_cast<void>((lane == 0 ? first : second).post(f));
  }
};

struct keyed_queue {
  static constexpr const char* name = "Interlock: keyed_serial_queue";
  std::atomic<bool> told_{false};
  static interlock::queue_options options(std::atomic<bool>& told) {
    auto how = telling(told);
    how.workers = 2;
    return how;
  }
  interlock::keyed_serial_queue<int> queue{options(told_)};
  void post(const function& f) { static_cast<void>(queue.post(7, f)); }
  void call(const function& f) { queue.run(7, f); }
  bool told() const { return told_; }
};

struct two_keys {
  interlock::keyed_serial_queue<int> queue{{.workers = 1}};
  void post(int lane, const function& f) { static_cast<void>(queue.post(lane, f)); }
};

// Returns: the answers of ours, in the order of the page.
inline std::vector<report> ask_ours() {
  return {ask<queue_of_callers>(), ask<queue_with_worker>(),
          ask<queue_on_pool, two_queues_on_pool>(), ask<keyed_queue, two_keys>()};
}

}  // namespace probes
