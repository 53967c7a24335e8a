// SPDX-License-Identifier: BSL-1.0
#pragma once

// How one operation is timed so that the figure survives a noisy machine: alone by thread CPU time,
// two threads in windows in which both really ran, a crowd by wall time times CPUs.

#include <benchmark/benchmark.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace bench {

inline bool quick = false;  // only: does everything run?

// A second thread that sleeps for the whole run: in a process that never had one, glibc leaves out
// the lock prefix and every mutex looks five times cheaper than it is.
class second_thread {
public:
  second_thread() : thread_([this] { wait_until_told(); }) {}
  ~second_thread() {
    done_.store(true);
    done_.notify_one();
    thread_.join();
  }

private:
  void wait_until_told() { done_.wait(false); }
  std::atomic<bool> done_{false};
  std::thread thread_;
};

// What each thread has for as long as it calls a contender: its nested type thread_scope, if any.
struct nothing {};
template <class Contender>
struct scope_of {
  using type = nothing;
};
template <class Contender>
requires requires {
  typename Contender::thread_scope;
}
struct scope_of<Contender> {
  using type = typename Contender::thread_scope;
};

// A contender on cache lines of its own, so that a neighbour on the heap costs it nothing.
template <class Contender>
struct alignas(128) apart {
  Contender contender;
};

using clock = std::chrono::steady_clock;

inline double ns_since(clock::time_point start) {
  return std::chrono::duration<double, std::nano>(clock::now() - start).count();
}

inline double thread_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

inline unsigned cpu_count() {
  return std::max(1U, std::thread::hardware_concurrency());
}

inline void pin_to_cpu(unsigned lane) {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  if (cpus.empty()) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpus[lane % cpus.size()], &one);
  ::sched_setaffinity(0, sizeof one, &one);
}

// Before a loop that is timed: its first instruction then always lies in the same place of a cache
// line. Else the same bare load takes one cycle a turn in one program and half a cycle in another.
[[gnu::always_inline]] inline void align_code() {
#if defined(__x86_64__) || defined(__aarch64__)
  asm volatile(".p2align 6");
#endif
}

// Calls the operation until the deadline, looking at the clock every `batch` calls.
template <class Operation>
std::uint64_t call_until(Operation& operation, unsigned lane, clock::time_point deadline,
                         std::uint64_t batch) {
  std::uint64_t calls = 0;
  do {
    align_code();
    for (std::uint64_t i = 0; i < batch; ++i) operation(lane);
    calls += batch;
  } while (clock::now() < deadline);
  return calls;
}

// Returns: how many calls take about 4 us: so the clock costs under 1 %, and a window ends in time.
template <class Operation>
std::uint64_t batch_of(Operation& operation) {
  for (std::uint64_t batch = 1;; batch *= 2) {
    const auto start = clock::now();
    for (std::uint64_t i = 0; i < batch; ++i) operation(0);
    if (clock::now() - start > std::chrono::microseconds(4) || batch > 1U << 20U) return batch;
  }
}

struct duel {
  std::array<double, 2> ns{};  // per operation, of each side: the median of the windows that count
  std::size_t windows = 0;     // how many were clean; with fewer than 20, others had to do as well
};

// Two pinned threads, each with an operation of its own (or both with the same one). They run for
// some time in windows of 50 us or a little more. Afterwards those windows count in which the
// thread had its CPU, and all through which the other thread had the other one. If these are few,
// as with threads that sleep in a lock, windows count in which neither was away for long; if these
// are few as well, all.
template <class First, class Second>
class duel_run {
public:
  duel_run(First& first, Second& second)
      : first_(first), second_(second), batch_{batch_of(first), batch_of(second)} {}

  // Effects: turns of 5 ms and then longer until 200 windows count or 0.4 s have passed.
  duel run() {
    cpu_set_t before;
    ::sched_getaffinity(0, sizeof before, &before);
    std::thread other([this] { second_side(); });
    pin_to_cpu(0);  // only now: a new thread may run where its maker may
    const std::size_t wanted = quick ? 40 : 200;
    const auto end = clock::now() + std::chrono::milliseconds(quick ? 20 : 400);
    auto length = std::chrono::milliseconds(quick ? 3 : 5);
    int turn = 1;
    do {
      first_side(turn++, length);
      length = std::min(2 * length, std::chrono::milliseconds(80));
    } while (measured_[clean][0].size() < wanted && clock::now() < end);
    tell(turn_, stop);
    other.join();
    ::sched_setaffinity(0, sizeof before, &before);
    std::size_t worst = clean;
    while (worst < any && std::min(measured_[worst][0].size(), measured_[worst][1].size()) < 20) {
      ++worst;
    }
    return {{median(measured_[worst][0]), median(measured_[worst][1])}, measured_[clean][0].size()};
  }

private:
  static constexpr int stop = -1;

  enum grade : std::size_t {
    clean,  // had the CPU for over 97 % of the time
    brief,  // took less than half a millisecond
    any,
    grades
  };
  struct window {
    clock::time_point start;
    clock::time_point end;
    double ns;  // per call
    grade its_grade;
  };

  static void tell(std::atomic<int>& word, int value) {
    word.store(value);
    word.notify_one();
  }

  template <class Operation>
  void run_windows(Operation& operation, unsigned lane) {
    std::vector<window>& windows = windows_[lane];
    windows.clear();
    windows.reserve(4096);
    for (auto start = clock::now(); start < deadline_ || windows.empty();) {
      const double cpu_start = thread_cpu_ns();
      const std::uint64_t calls =
          call_until(operation, lane, start + std::chrono::microseconds(50), batch_[lane]);
      const double cpu = thread_cpu_ns() - cpu_start;
      const auto end = clock::now();
      const double wall = std::chrono::duration<double, std::nano>(end - start).count();
      const grade its_grade = cpu / wall > 0.97 ? clean : wall < 500'000 ? brief : any;
      windows.push_back({start, end, wall / static_cast<double>(calls), its_grade});
      start = end;
    }
  }

  void second_side() {
    pin_to_cpu(1);
    [[maybe_unused]] const typename scope_of<Second>::type scope;
    for (int seen = 0;;) {
      turn_.wait(seen);
      seen = turn_.load();
      if (seen == stop) return;
      run_windows(second_, 1);
      tell(finished_, seen);
    }
  }

  void first_side(int turn, clock::duration length) {
    deadline_ = clock::now() + length;
    tell(turn_, turn);
    run_windows(first_, 0);
    for (int seen = finished_.load(); seen < turn; seen = finished_.load()) finished_.wait(seen);
    count(0);
    count(1);
  }

  // A window is as good as the worst of those that overlap it.
  void count(std::size_t lane) {
    const std::vector<window>& others = windows_[1 - lane];
    auto other = others.begin();
    for (const window& mine : windows_[lane]) {
      while (other != others.end() && other->end <= mine.start) ++other;
      const bool covered = other != others.end() && other->start <= mine.start;
      std::size_t worst = covered && others.back().end >= mine.end ? mine.its_grade : any;
      for (auto each = other; each != others.end() && each->start < mine.end; ++each) {
        worst = std::max<std::size_t>(worst, each->its_grade);
      }
      for (std::size_t at = worst; at < grades; ++at) measured_[at][lane].push_back(mine.ns);
    }
  }

  First& first_;
  Second& second_;
  std::array<std::uint64_t, 2> batch_;
  std::array<std::vector<window>, 2> windows_{};
  std::array<std::array<std::vector<double>, 2>, grades> measured_{};  // of this grade or better
  clock::time_point deadline_{};
  std::atomic<int> turn_{0};
  std::atomic<int> finished_{0};
};

// Returns: nanoseconds of all CPUs together per operation, with four threads a CPU.
template <class Operation>
double run_crowd(Operation& operation) {
  const unsigned threads = 4 * cpu_count();
  const std::uint64_t batch = batch_of(operation);
  std::atomic<std::uint64_t> calls{0};
  const auto start = clock::now();
  const auto deadline = start + std::chrono::milliseconds(quick ? 3 : 20);
  std::vector<std::thread> crowd;
  for (unsigned lane = 0; lane < threads; ++lane) {
    crowd.emplace_back([&, lane] {
      [[maybe_unused]] const typename scope_of<Operation>::type scope;
      calls.fetch_add(call_until(operation, lane, deadline, batch));
    });
  }
  for (std::thread& thread : crowd) thread.join();
  return ns_since(start) * cpu_count() / static_cast<double>(calls.load());
}

// Returns: the median time of one call while two threads a CPU do the other operation: a caller
//          that has to share its CPU with them. A call takes the clock's 20 ns besides.
template <class Operation, class Other>
double run_among(Operation& operation, Other& other) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> crowd;
  for (unsigned lane = 1; lane <= 2 * cpu_count(); ++lane) {
    crowd.emplace_back([&, lane] {
      [[maybe_unused]] const typename scope_of<Other>::type scope;
      while (!stop.load(std::memory_order_relaxed)) {
        for (int i = 0; i < 64; ++i) other(lane);
      }
    });
  }
  std::vector<double> calls;
  const auto deadline = clock::now() + std::chrono::milliseconds(quick ? 5 : 50);
  for (auto start = clock::now(); start < deadline; start = clock::now()) {
    operation(0);
    calls.push_back(ns_since(start));
  }
  stop.store(true);
  for (std::thread& thread : crowd) thread.join();
  return median(calls);
}

}  // namespace bench
