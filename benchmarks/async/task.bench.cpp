// SPDX-License-Identifier: BSL-1.0
// Calling a task from a task, and starting many at once. Their frames come from operator new.

#include "async/jobs.hpp"

namespace async {
namespace {

task<int> child(int argument) {
  co_return argument + 1;
}

task<> call_children(benchmark::State& state) {
  int value = 0;
  for (auto _ : state) {
    value = co_await child(value);
    benchmark::DoNotOptimize(value);
  }
}

// A call that is not inlined, with an allocation: what a frame costs by itself.
[[gnu::noinline]] std::unique_ptr<int> plain_child(int argument) {
  return std::make_unique<int>(argument + 1);
}

struct plain_call {
  int value = 0;
  void operator()(unsigned) {
    value = *plain_child(value);
    benchmark::DoNotOptimize(value);
  }
};

task<> wait_for_many(benchmark::State& state) {
  while (state.KeepRunningBatch(visitors)) {
    std::vector<task<int>> all;
    all.reserve(visitors);
    for (int i = 0; i < visitors; ++i) all.push_back(child(i));
    const std::vector<int> results = co_await interlock::when_all(std::move(all));
    benchmark::DoNotOptimize(results.data());
  }
}

const bench::contenders here([] {
  add_repeated(a_child + "interlock::task", call_children);
  bench::add_alone<plain_call>(a_child + "a plain call that allocates an int");
  add_repeated("async/wait for 50 tasks, each/interlock::when_all", wait_for_many);
});

}  // namespace
}  // namespace async
