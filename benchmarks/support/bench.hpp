// SPDX-License-Identifier: BSL-1.0
#pragma once

// One operation, three situations, figures that survive a noisy machine.
//
//   alone            one thread; CPU time of that thread, so other programs do not count
//   2 threads        two pinned threads in short windows; a window counts only if both threads
//                    started together and really ran all through it
//   oversubscribed   four threads a CPU, for a fixed time; wall time times CPUs, so that the
//                    figure is CPU time an operation as in the other two
//
// A contender is a default-constructible type whose call operator takes the number of its lane and
// does the operation once on state that all lanes share:
//
//   struct counter_add {
//     interlock::counter<> clicks;
//     void operator()(unsigned) { clicks.add(1); }
//   };
//   bench::add<counter_add>("counter/counter.add");
//
// Names are FAMILY/CONTENDER/SITUATION; benchmarks/goals.json compares them.

#include <benchmark/benchmark.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace bench {

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

using clock = std::chrono::steady_clock;

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

// Calls the operation until the deadline, looking at the clock every `batch` calls.
template <class Operation>
std::uint64_t call_until(Operation& operation, unsigned lane, clock::time_point deadline,
                         std::uint64_t batch) {
  std::uint64_t calls = 0;
  do {
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
  double ns = 0;            // per operation and thread: the median of the windows that count
  std::size_t windows = 0;  // how many counted; with fewer than 5, all of them had to do
};

// Effects: runs the operation on two pinned threads in windows of 0.3 ms until 31 count.
template <class Operation>
duel run_duel(Operation& operation) {
  constexpr auto length = std::chrono::microseconds(300);
  constexpr std::size_t wanted = 31;
  constexpr std::size_t limit = 400;
  struct side {
    std::atomic<std::uint64_t> ready{0};
    std::atomic<std::uint64_t> finished{0};
    clock::time_point start{};
    double ns = 0;
    bool clean = false;
  };
  const auto sides = std::make_unique<side[]>(2);
  std::atomic<bool> stop{false};
  const std::uint64_t batch = batch_of(operation);

  const auto window = [&](unsigned lane) {
    const auto start = clock::now();
    const double cpu_start = thread_cpu_ns();
    const std::uint64_t calls = call_until(operation, lane, start + length, batch);
    const double cpu = thread_cpu_ns() - cpu_start;
    const double wall = std::chrono::duration<double, std::nano>(clock::now() - start).count();
    sides[lane].start = start;
    sides[lane].ns = wall / static_cast<double>(calls);
    sides[lane].clean = cpu / wall > 0.97;
  };

  // Both announce the window and wait for the other's announcement, spinning: they start together.
  std::thread other([&] {
    pin_to_cpu(1);
    for (std::uint64_t round = 1;; ++round) {
      sides[1].ready.store(round);
      while (sides[0].ready.load() < round && !stop.load()) {
      }
      if (stop.load()) return;
      window(1);
      sides[1].finished.store(round);
    }
  });
  cpu_set_t before;
  ::sched_getaffinity(0, sizeof before, &before);
  pin_to_cpu(0);
  std::vector<double> counted;
  std::vector<double> all;
  for (std::uint64_t round = 1; round <= limit && counted.size() < wanted; ++round) {
    while (sides[1].ready.load() < round) {
    }
    sides[0].ready.store(round);
    window(0);
    while (sides[1].finished.load() < round) {
    }
    const double ns = (sides[0].ns + sides[1].ns) / 2;
    all.push_back(ns);
    const bool together = std::chrono::abs(sides[0].start - sides[1].start) < length / 20;
    if (together && sides[0].clean && sides[1].clean) counted.push_back(ns);
  }
  stop.store(true);
  other.join();
  ::sched_setaffinity(0, sizeof before, &before);
  return {median(counted.size() >= 5 ? counted : all), counted.size()};
}

// Returns: nanoseconds of all CPUs together per operation, with four threads a CPU.
template <class Operation>
double run_crowd(Operation& operation) {
  const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
  const unsigned threads = 4 * cpus;
  const std::uint64_t batch = batch_of(operation);
  std::atomic<std::uint64_t> calls{0};
  const auto start = clock::now();
  const auto deadline = start + std::chrono::milliseconds(20);
  std::vector<std::thread> crowd;
  for (unsigned lane = 0; lane < threads; ++lane) {
    crowd.emplace_back(
        [&, lane] { calls.fetch_add(call_until(operation, lane, deadline, batch)); });
  }
  for (std::thread& thread : crowd) thread.join();
  const double wall = std::chrono::duration<double, std::nano>(clock::now() - start).count();
  return wall * cpus / static_cast<double>(calls.load());
}

// A figure that we timed ourselves, as the one iteration of a Google Benchmark repetition.
inline void report_ns(benchmark::State& state, double ns) { state.SetIterationTime(ns * 1e-9); }

// Effects: registers the contender alone, with 2 threads and oversubscribed.
template <class Contender>
void add(const std::string& name) {
  benchmark::RegisterBenchmark((name + "/alone").c_str(), [](benchmark::State& state) {
    const auto contender = std::make_unique<Contender>();
    for (auto _ : state) (*contender)(0);
  });
  benchmark::RegisterBenchmark((name + "/2 threads").c_str(), [](benchmark::State& state) {
    for (auto _ : state) {
      const auto contender = std::make_unique<Contender>();
      const duel result = run_duel(*contender);
      report_ns(state, result.ns);
      state.counters["windows"] = static_cast<double>(result.windows);
    }
  })->Iterations(1)->UseManualTime();
  benchmark::RegisterBenchmark((name + "/oversubscribed").c_str(), [](benchmark::State& state) {
    for (auto _ : state) {
      const auto contender = std::make_unique<Contender>();
      report_ns(state, run_crowd(*contender));
    }
  })->Iterations(1)->UseManualTime();
}

// Effects: what main() returns; runs what was registered.
inline int run(int argc, char** argv) {
  const second_thread alive;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench
