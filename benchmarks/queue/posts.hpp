// SPDX-License-Identifier: BSL-1.0
#pragma once

// How queues are timed: by one or two pinned producers that post small tasks. The figure is wall
// time over all tasks, whoever did them: of two producers, the time in which both run over the tasks
// of both, so not the time of a call, which is twice that. It is compared with the std::mutex
// section of one thread alone; of all contenders alike.
//
// Where the producers do the work themselves (in_place), two are timed as any duel. Else a window
// ends when all of its tasks are done, and those windows count in which no thread of ours waited
// for a CPU that others had.
//
// A contender has post(task), where the task is a callable of 16 or 48 bytes, and in_place.

#include <dirent.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/bench.hpp"

namespace queues {

inline const std::string ran = "queue/run a section and wait for it/";
inline const std::string steady = "queue/post, steady/";
inline const std::string steady_48 = "queue/post, steady, 48 bytes/";
inline const std::string bursts = "queue/post, bursts of 64/";
inline const std::string bursts_48 = "queue/post, bursts of 64, 48 bytes/";
inline const std::string keyed = "queue/post, 100 000 keys/";

// What the tasks work on: a number that only tasks touch, and for each producer how many are done.
struct ledger {
  struct alignas(64) tally {
    std::atomic<std::uint64_t> done{0};  // by whoever runs the tasks
    alignas(64) std::uint64_t posted = 0;  // the producer's own, so on a line of its own

    // Only tasks of one producer write here, one after the other.
    void tick() noexcept {
      done.store(done.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
  };
  alignas(64) std::int64_t value = 0;
  std::array<tally, 2> producers{};
};

template <std::size_t Bytes>
struct section {
  ledger* work;
  std::uint64_t producer;
  std::array<std::uint64_t, (Bytes - 16) / 8> payload{};
  void operator()() const noexcept {
    benchmark::DoNotOptimize(++work->value);
    if constexpr (Bytes > 16) benchmark::DoNotOptimize(payload);
    work->producers[producer].tick();
  }
};
template <>
struct section<16> {
  ledger* work;
  std::uint64_t producer;
  void operator()() const noexcept {
    benchmark::DoNotOptimize(++work->value);
    work->producers[producer].tick();
  }
};

inline void pause() noexcept {
#if defined(__x86_64__)
  asm volatile("pause");
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Effects: spins for a moment and then yields, until `ready` says so.
template <class Ready>
void wait_until(Ready ready) {
  for (int round = 0; !ready(); ++round) {
    if (round < 64) {
      pause();
    } else {
      ::sched_yield();
    }
  }
}

inline void wait_for(const ledger::tally& mine, std::uint64_t at_most_behind) {
  wait_until([&] {
    return mine.posted - mine.done.load(std::memory_order_acquire) <= at_most_behind;
  });
}

// Returns: how long the threads of this process have waited for a CPU, in ns.
inline double waited_for_cpu() {
  double sum = 0;
  DIR* const tasks = ::opendir("/proc/self/task");
  if (tasks == nullptr) return 0;
  while (const dirent* const task = ::readdir(tasks)) {
    if (task->d_name[0] == '.') continue;
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%.20s/schedstat", task->d_name);
    std::FILE* const file = std::fopen(path, "r");
    if (file == nullptr) continue;
    double ran_for = 0;
    double waited = 0;
    if (std::fscanf(file, "%lf %lf", &ran_for, &waited) == 2) sum += waited;
    std::fclose(file);
  }
  ::closedir(tasks);
  return sum;
}

inline double process_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// One or two producers, and windows. produce(lane) posts the tasks of a window and waits for them.
template <class Produce>
class windows {
public:
  windows(unsigned producers, double tasks_each, Produce produce)
      : producers_(producers), tasks_(producers * tasks_each), produce_(std::move(produce)) {}

  // Returns: ns of wall time per task: the median of the clean windows.
  double run(benchmark::State& state) {
    cpu_set_t before;
    ::sched_getaffinity(0, sizeof before, &before);
    std::thread other;
    if (producers_ == 2) other = std::thread([this] { second_producer(); });
    bench::pin_to_cpu(0);
    one_window();  // warms up
    const auto end = bench::clock::now() + std::chrono::milliseconds(bench::quick ? 20 : 300);
    const std::size_t wanted = bench::quick ? 5 : 41;
    clean_.clear();
    all_.clear();
    do {
      one_window();
    } while (clean_.size() < wanted && bench::clock::now() < end);
    call_.store(stop);
    if (other.joinable()) other.join();
    ::sched_setaffinity(0, sizeof before, &before);
    // The report wants twenty windows of 50 us for a sure figure; each of ours is many of those.
    state.counters["windows"] = static_cast<double>(5 * clean_.size());
    return bench::median(clean_.size() < 4 ? all_ : clean_);
  }

private:
  static constexpr int stop = -1;

  void one_window() {
    call_.store(++turn_);
    if (producers_ == 2) wait_until([this] { return ready_.load() == turn_; });
    const double waited = waited_for_cpu();
    const double cpu = process_cpu_ns();
    const auto start = bench::clock::now();
    go_.store(turn_);
    produce_(0U);
    if (producers_ == 2) wait_until([this] { return finished_.load() == turn_; });
    const double wall = bench::ns_since(start);
    const double used = process_cpu_ns() - cpu;
    all_.push_back(wall / tasks_);
    if (waited_for_cpu() - waited < 0.02 * wall ||
        used > 0.97 * wall * std::min(2U, bench::cpu_count())) {
      clean_.push_back(wall / tasks_);
    }
  }

  void second_producer() {
    bench::pin_to_cpu(1);
    for (int seen = 0;; finished_.store(seen)) {
      wait_until([&] { return call_.load() != seen; });
      seen = call_.load();
      if (seen == stop) return;
      ready_.store(seen);
      while (go_.load() != seen) pause();
      produce_(1U);
    }
  }

  const unsigned producers_;
  const double tasks_;
  const Produce produce_;
  int turn_ = 0;
  std::atomic<int> call_{0};
  std::atomic<int> ready_{0};
  std::atomic<int> go_{0};
  std::atomic<int> finished_{0};
  std::vector<double> clean_;
  std::vector<double> all_;
};

// A job has step(lane), which posts step_tasks tasks; window_steps, how many make a window; and
// settle(lane), which waits for what is left. Effects: registers it with one and two producers.
template <class Job>
void add_job(const std::string& name) {
  for (unsigned producers = 1; producers <= 2; ++producers) {
    bench::add_timed(name + (producers == 1 ? "/alone" : "/2 threads"),
                     [producers](benchmark::State& state) {
                       const auto own = std::make_unique<bench::apart<Job>>();
                       Job& job = own->contender;
                       if (Job::in_place && producers == 2) {
                         const auto step = [&job](unsigned lane) { job.step(lane); };
                         const bench::duel seen = bench::duel_run(step, step).run();
                         state.counters["windows"] = static_cast<double>(seen.windows);
                         return (seen.ns[0] + seen.ns[1]) / 4 / Job::step_tasks;
                       }
                       const auto produce = [&job](unsigned lane) {
                         for (int i = 0; i < Job::window_steps; ++i) job.step(lane);
                         job.settle(lane);
                       };
                       constexpr double each = Job::window_steps * Job::step_tasks;
                       return windows(producers, each, produce).run(state);
                     });
  }
}

// Bursts, each of which is done before the producer begins the next.
template <std::size_t Bytes, int Size, class Contender>
class burst_job {
public:
  static constexpr bool in_place = Contender::in_place;
  static constexpr int step_tasks = Size;
  static constexpr int window_steps = in_place ? 2048 / Size : Size == 1 ? 128 : 16;

  void step(unsigned lane) {
    ledger::tally& mine = work_.producers[lane];
    for (int i = 0; i < Size; ++i) to_.post(section<Bytes>{&work_, lane});
    mine.posted += Size;
    wait_for(mine, 0);
  }
  void settle(unsigned) {}

private:
  ledger work_;
  alignas(128) Contender to_;
};

constexpr std::uint64_t most_outstanding = 4096;

// One after the other without pauses; a producer that is far ahead waits.
template <std::size_t Bytes, class Contender>
class steady_job {
public:
  static constexpr bool in_place = Contender::in_place;
  static constexpr int step_tasks = 1;
  static constexpr int window_steps = in_place ? 2048 : 8192;

  void step(unsigned lane) {
    ledger::tally& mine = work_.producers[lane];
    to_.post(section<Bytes>{&work_, lane});
    if (++mine.posted % 64 == 0) wait_for(mine, most_outstanding);
  }
  void settle(unsigned lane) { wait_for(work_.producers[lane], 0); }

private:
  ledger work_;
  alignas(128) Contender to_;
};

template <class Contender>
void add_run(const std::string& who) {
  add_job<burst_job<16, 1, Contender>>(ran + who);
}

template <class Contender>
void add_posts(const std::string& who) {
  add_job<steady_job<16, Contender>>(steady + who);
  add_job<steady_job<48, Contender>>(steady_48 + who);
  add_job<burst_job<16, 64, Contender>>(bursts + who);
  add_job<burst_job<48, 64, Contender>>(bursts_48 + who);
}

// ---- a queue for each key

constexpr std::uint64_t accounts = 100'000;

struct alignas(64) run_slot {
  std::atomic<std::uint64_t> count{0};
  std::atomic<bool> taken{false};
};

// How many tasks each thread has run, on a line of its own: tasks of several keys run side by side.
class runs {
public:
  static void tick() noexcept {
    static thread_local std::atomic<std::uint64_t>& mine = claim();
    mine.store(mine.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  static std::uint64_t sum() noexcept {
    std::uint64_t all = 0;
    for (const run_slot& each : slots) all += each.count.load(std::memory_order_acquire);
    return all;
  }

private:
  // A thread that ends leaves its slot, with what it has counted, to another one.
  static std::atomic<std::uint64_t>& claim() noexcept {
    struct lease {
      run_slot* own = nullptr;
      ~lease() { own->taken.store(false); }
    };
    static thread_local lease mine;
    for (std::size_t i = 0;; i = (i + 1) % slots.size()) {
      if (slots[i].taken.exchange(true)) continue;
      mine.own = &slots[i];
      return slots[i].count;
    }
  }
  static inline std::array<run_slot, 16> slots{};
};

// Work for one account: a number that only tasks of its key touch.
struct account_work {
  std::int64_t* account;
  void operator()() const noexcept {
    benchmark::DoNotOptimize(++*account);
    runs::tick();
  }
};

// A contender has post(key, task).
template <class Contender>
class keyed_job {
public:
  static constexpr bool in_place = Contender::in_place;
  static constexpr int step_tasks = 1;
  static constexpr int window_steps = in_place ? 2048 : 8192;

  void step(unsigned lane) {
    producer& mine = producers_[lane];
    const std::uint64_t key = mine.next_key();
    to_.post(key, account_work{&balances_[key]});
    const std::uint64_t posted = mine.posted.load(std::memory_order_relaxed) + 1;
    mine.posted.store(posted, std::memory_order_relaxed);
    if (posted % 64 == 0) wait_for_all_but(2 * most_outstanding);
  }
  void settle(unsigned) { wait_for_all_but(0); }

private:
  struct alignas(64) producer {
    std::atomic<std::uint64_t> posted{0};
    std::uint64_t state = 0;
    std::uint64_t next_key() noexcept {  // splitmix64
      std::uint64_t x = state += 0x9e3779b97f4a7c15U;
      x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
      x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
      return (x ^ (x >> 31U)) % accounts;
    }
  };

  void wait_for_all_but(std::uint64_t some) {
    wait_until([&] {
      const std::uint64_t posted = producers_[0].posted.load() + producers_[1].posted.load();
      return posted <= runs::sum() - before_ + some;
    });
  }

  const std::uint64_t before_ = runs::sum();
  std::vector<std::int64_t> balances_ = std::vector<std::int64_t>(accounts);
  std::array<producer, 2> producers_{{{.state = 1}, {.state = 2}}};
  Contender to_;
};

template <class Contender>
void add_keyed(const std::string& who) {
  add_job<keyed_job<Contender>>(keyed + who);
}

}  // namespace queues
