// SPDX-License-Identifier: BSL-1.0
#include <interlock/async_mutex.hpp>
#include <interlock/when_all.hpp>

#include "support/yardsticks.hpp"

namespace {

using interlock::async_mutex;
using interlock::task;

struct try_lock_in_thread {
  async_mutex door;
  void operator()(unsigned) { benchmark::DoNotOptimize(door.try_lock().owns_lock()); }
};

struct lock_blocking_in_thread {
  async_mutex door;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const auto held = door.lock_blocking();
    benchmark::DoNotOptimize(++value);
  }
};

// One coroutine that locks and unlocks: the loop is inside, so no frame is made per operation.
task<> lock_in_coroutine(benchmark::State& state, async_mutex& door, std::int64_t& value) {
  for (auto _ : state) {
    const auto held = co_await door.lock();
    benchmark::DoNotOptimize(++value);
  }
}

task<> std_mutex_in_coroutine(benchmark::State& state, std::mutex& door, std::int64_t& value) {
  for (auto _ : state) {
    const std::lock_guard held(door);
    benchmark::DoNotOptimize(++value);
  }
  co_return;
}

// Fifty coroutines of one thread; each holds the lock across a suspension, so all others queue.
constexpr int visitors = 50;
constexpr int visits = 200;

task<> visit(async_mutex& door, std::int64_t& value) {
  for (int i = 0; i < visits; ++i) {
    const auto held = co_await door.lock();
    const std::int64_t seen = value;
    co_await interlock::reschedule();
    value = seen + 1;
  }
}

task<> pass_by() {
  for (int i = 0; i < visits; ++i) co_await interlock::reschedule();
}

template <class MakeTask>
void crowd_on_one_thread(benchmark::State& state, MakeTask make_task) {
  for (auto _ : state) {
    std::vector<double> runs;
    for (int run = 0; run < 11; ++run) {
      std::vector<task<>> crowd;
      for (int i = 0; i < visitors; ++i) crowd.push_back(make_task());
      const double start = bench::thread_cpu_ns();
      interlock::sync_wait(interlock::when_all(std::move(crowd)));
      runs.push_back((bench::thread_cpu_ns() - start) / (visitors * visits));
    }
    bench::report_ns(state, bench::median(runs));
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::mutex_section>("async_mutex/std::mutex section");
  bench::add<try_lock_in_thread>("async_mutex/try_lock and unlock");
  bench::add<lock_blocking_in_thread>("async_mutex/lock_blocking section");
  benchmark::RegisterBenchmark("async_mutex/std::mutex in a coroutine/alone",
                               [](benchmark::State& state) {
                                 std::mutex door;
                                 std::int64_t value = 0;
                                 interlock::sync_wait(std_mutex_in_coroutine(state, door, value));
                               });
  benchmark::RegisterBenchmark("async_mutex/co_await lock section/alone",
                               [](benchmark::State& state) {
                                 async_mutex door;
                                 std::int64_t value = 0;
                                 interlock::sync_wait(lock_in_coroutine(state, door, value));
                               });
  benchmark::RegisterBenchmark("async_mutex/50 coroutines, held across a suspension",
                               [](benchmark::State& state) {
                                 async_mutex door;
                                 std::int64_t value = 0;
                                 crowd_on_one_thread(state, [&] { return visit(door, value); });
                               })
      ->Iterations(1)->UseManualTime();
  benchmark::RegisterBenchmark("async_mutex/50 coroutines, suspension only",
                               [](benchmark::State& state) {
                                 crowd_on_one_thread(state, [] { return pass_by(); });
                               })
      ->Iterations(1)->UseManualTime();
  return bench::run(argc, argv);
}
