// SPDX-License-Identifier: BSL-1.0
// Figures that are no times of one operation: a storm of duplicates, allocations, memory.

#include <interlock/idempotency_cache.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "cache/jobs.hpp"
#include "support/heap.hpp"
#include "tests/support/allocations.hpp"

namespace caches {
namespace {

using interlock::fingerprint;
using interlock::idempotency_cache;

constexpr int crowd = 64;
constexpr auto work = std::chrono::milliseconds(2);

// A run at a time for each key, the hand-written way: a mutex, a condition variable, a flag.
class condition_cache {
public:
  template <class F>
  int run(std::uint64_t key, F f) {
    std::unique_lock lock(mutex_);
    const auto [at, first] = map_.try_emplace(key);
    entry& mine = at->second;
    if (first) {
      lock.unlock();
      const int made = f();
      lock.lock();
      mine.value = made;
      mine.done = true;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return mine.done; });
    return mine.value;
  }

private:
  struct entry {
    bool done = false;
    int value = 0;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::uint64_t, entry> map_;
};

struct storm {
  double cpu;         // of each joiner, ns
  double executions;  // of the function, for a key
};

// Effects: 64 threads ask for the same key at once, key after key.
template <class Ask>
storm storm_of(Ask ask) {
  const int rounds = bench::quick ? 2 : 10;
  std::atomic<int> executions{0};
  std::atomic<int> arrived{0};
  std::vector<double> cpu(crowd);
  std::vector<std::thread> threads;
  for (int i = 0; i < crowd; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < rounds; ++round) {
        arrived.fetch_add(1);
        while (arrived.load() < (round + 1) * crowd) std::this_thread::yield();
        const double start = bench::thread_cpu_ns();
        bool mine = false;
        ask(static_cast<std::uint64_t>(round), [&] {
          mine = true;
          executions.fetch_add(1);
          std::this_thread::sleep_for(work);
          return 1;
        });
        if (!mine) cpu[static_cast<std::size_t>(i)] += bench::thread_cpu_ns() - start;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  double sum = 0;
  for (const double each : cpu) sum += each;
  return {sum / (rounds * (crowd - 1)), static_cast<double>(executions.load()) / rounds};
}

storm our_storm() {
  idempotency_cache<std::uint64_t, int> cache;
  return storm_of([&](std::uint64_t key, auto f) {
    benchmark::DoNotOptimize(cache.run(key, fingerprint{7}, f));
  });
}

storm condition_storm() {
  condition_cache cache;
  return storm_of([&](std::uint64_t key, auto f) { benchmark::DoNotOptimize(cache.run(key, f)); });
}

double allocations_of_a_miss() {
  constexpr std::uint64_t count = 10'000;
  interlock::coarse_time time;
  idempotency_cache<std::uint64_t, answer> cache({.capacity = 1024, .time = &time});
  const auto miss = [&](std::uint64_t key) {
    benchmark::DoNotOptimize(cache.run(key, fingerprint{7}, [] { return answer{}; }));
  };
  for (std::uint64_t i = 0; i < count; ++i) miss(i);
  const std::size_t before = support::allocations();
  for (std::uint64_t i = 0; i < count; ++i) miss(count + i);
  return static_cast<double>(support::allocations() - before) / count;
}

// Returns: bytes of heap for each of ten million answers, beyond the key and the answer.
double bytes_of_an_entry() {
  const std::uint64_t count = bench::quick ? 100'000 : 10'000'000;
  const double before = bench::heap_in_use();
  interlock::coarse_time time;
  idempotency_cache<std::uint64_t, std::uint64_t> cache(
      {.capacity = count + count / 16, .time = &time});
  for (std::uint64_t i = 0; i < count; ++i) {
    benchmark::DoNotOptimize(cache.run(spread(i), fingerprint{7}, [&] { return i; }));
  }
  const auto entries = static_cast<double>(cache.size_approx());
  return (bench::heap_in_use() - before) / entries - 16;
}

const bench::contenders here([] {
  const std::string storms = "cache/storm of 64 threads, CPU of a joiner/";
  bench::add_timed(storms + "interlock::idempotency_cache run/oversubscribed",
                   [](benchmark::State&) { return our_storm().cpu; });
  bench::add_timed(storms + "std::condition_variable/oversubscribed",
                   [](benchmark::State&) { return condition_storm().cpu; });
  bench::add_figure("cache/storm of 64 threads, one key/interlock::idempotency_cache run",
                    "executions", [] { return our_storm().executions; });
  bench::add_figure("cache/allocations/interlock::idempotency_cache run, a miss that evicts",
                    "a miss", allocations_of_a_miss);
  bench::add_figure("cache/memory, 10 000 000 integers/interlock::idempotency_cache, beyond them",
                    "bytes an entry", bytes_of_an_entry);
});

}  // namespace
}  // namespace caches
