// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/job_thread.hpp - an executor behind which an explored thread calls work().

#include <atomic>
#include <functional>
#include <utility>

#include "testing/front.hpp"

// One job at a time is out; an explored thread does them until told to stop.
class job_thread {
public:
  job_thread() = default;
  job_thread(const job_thread&) = delete;
  job_thread& operator=(const job_thread&) = delete;

  void operator()(std::function<void()> job) {
    // Callers need not know of each other: an update, since a load may see an idle of before.
    for (int seen = idle; !state_.compare_exchange_strong(seen, filling, acq, rlx); seen = idle) {
      testing::spin_hint();
    }
    job_ = std::move(job);
    state_.store(waiting, rel);
  }
  void stop() { stop_.store(true, rel); }
  void work() {
    for (;;) {
      const bool last_look = stop_.load(acq);  // before it looks: what came before stop() is done
      if (state_.load(acq) == waiting) {
        const auto job = std::exchange(job_, nullptr);
        state_.store(idle, rel);
        job();
      } else if (last_look) {
        return;
      } else {
        testing::spin_hint();
      }
    }
  }

private:
  static constexpr int idle = 0, waiting = 1, filling = 2;
  std::function<void()> job_;
  std::atomic<int> state_{idle};
  std::atomic<bool> stop_{false};
};
