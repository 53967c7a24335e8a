// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/support/jobs_by_hand.hpp - an executor with a clock that runs its jobs when a test says so.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <stdexcept>
#include <utility>

namespace support {

// Runs jobs when told. Refuses them once `open` is false; then whoever has a write due makes it.
struct jobs_by_hand {
  struct job {
    std::chrono::nanoseconds delay;
    std::chrono::steady_clock::time_point due;
    std::function<void()> run;
  };
  std::deque<job> line;
  bool open = true;
  std::chrono::steady_clock::time_point now{std::chrono::hours(1)};  // goes on with the jobs

  auto schedule() {
    return [this](std::chrono::nanoseconds delay, std::function<void()> run) {
      if (!open) throw std::runtime_error("the executor is closed");
      line.push_back({delay, now + delay, std::move(run)});
    };
  }

  auto clock() {
    return [this] { return now; };
  }

  // Effects: runs the job that is due first; then it is so late.
  void run_one() {
    const auto first = std::min_element(line.begin(), line.end(),
                                        [](const job& a, const job& b) { return a.due < b.due; });
    const job next = std::move(*first);
    line.erase(first);
    now = std::max(now, next.due);
    next.run();
  }
  // Effects: runs what is due by then.
  void run_until(std::chrono::steady_clock::time_point then) {
    while (std::any_of(line.begin(), line.end(), [&](const job& j) { return j.due <= then; })) {
      run_one();
    }
    now = then;
  }
  // Returns: the number of jobs that ran.
  std::size_t run_all() {
    std::size_t ran = 0;
    for (; !line.empty(); ++ran) run_one();
    return ran;
  }
};

// Runs the jobs left and lets the mirror that is declared after it end on this thread.
struct ends_here {
  jobs_by_hand& jobs;
  ~ends_here() {
    jobs.run_all();
    jobs.open = false;
  }
};

}  // namespace support
