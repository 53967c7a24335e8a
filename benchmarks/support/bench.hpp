// SPDX-License-Identifier: BSL-1.0
#pragma once

// One operation in several situations. A contender is a default-constructible type whose call
// operator takes the number of its lane and does the operation once on state that all lanes share:
//
//   struct counter_add {
//     interlock::counter<> clicks;
//     void operator()(unsigned) { clicks.add(1); }
//   };
//   bench::add<counter_add>("counters/add one/interlock::counter");
//
//   alone            one thread; CPU time of that thread, so other programs do not count
//   2 threads        two pinned threads in short windows; a window counts only if both threads
//                    really ran all through it
//   oversubscribed   four threads a CPU, for a fixed time; wall time times CPUs, so that the
//                    figure is CPU time an operation as in the other two
//   beside a writer  windows as with 2 threads, but one lane calls the operator and the other one
//                    write(lane); the other lane's figure has the situation "that writer"
//   among writers    the median of single calls beside two threads a CPU that call write(lane)
//
// Names are FAMILY/JOB/WHO/SITUATION: the report compares all who do one job, and takes for ours
// whose name begins with "interlock::". benchmarks/goals.json has the goals.

#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <string>

#include "support/timing.hpp"

namespace bench {

// A figure that we timed ourselves, as the one iteration of a Google Benchmark repetition.
inline void report_ns(benchmark::State& state, double ns) {
  state.SetIterationTime(ns * 1e-9);
}

// Registers `measure`, which returns nanoseconds, as one iteration a repetition.
template <class Measure>
void add_timed(const std::string& name, Measure measure) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [measure](benchmark::State& state) {
                                 for (auto _ : state) report_ns(state, measure(state));
                               })
      ->Iterations(1)
      ->UseManualTime();
}

// Effects: registers the contender alone.
template <class Contender>
void add_alone(const std::string& name) {
  benchmark::RegisterBenchmark((name + "/alone").c_str(), [](benchmark::State& state) {
    [[maybe_unused]] const typename scope_of<Contender>::type scope;
    const auto own = std::make_unique<apart<Contender>>();
    Contender& contender = own->contender;  // or each call would read the pointer from the stack
    auto left = state.begin();
    const auto none = state.end();
    align_code();
    for (; left != none; ++left) contender(0);
  });
}

// Effects: registers the contender alone, with 2 threads and oversubscribed.
template <class Contender>
void add(const std::string& name) {
  add_alone<Contender>(name);
  add_timed(name + "/2 threads", [](benchmark::State& state) {
    [[maybe_unused]] const typename scope_of<Contender>::type scope;
    const auto own = std::make_unique<apart<Contender>>();
    const duel result = duel_run(own->contender, own->contender).run();
    state.counters["windows"] = static_cast<double>(result.windows);
    return (result.ns[0] + result.ns[1]) / 2;
  });
  add_timed(name + "/oversubscribed", [](benchmark::State&) {
    [[maybe_unused]] const typename scope_of<Contender>::type scope;
    const auto own = std::make_unique<apart<Contender>>();
    return run_crowd(own->contender);
  });
}

// The other operation of a contender: what its hot writer does.
template <class Contender>
struct writer_of {
  Contender& contender;
  void operator()(unsigned lane) { contender.write(lane); }
};
template <class Contender>
struct scope_of<writer_of<Contender>> : scope_of<Contender> {};

// Effects: registers the call operator beside a thread that calls write() all the time.
template <class Contender>
void add_beside_writer(const std::string& name) {
  add_timed(name + "/beside a writer", [](benchmark::State& state) {
    [[maybe_unused]] const typename scope_of<Contender>::type scope;
    const auto own = std::make_unique<apart<Contender>>();
    writer_of<Contender> writer{own->contender};
    const duel result = duel_run(own->contender, writer).run();
    state.counters["windows"] = static_cast<double>(result.windows);
    state.counters["that writer"] = result.ns[1];
    return result.ns[0];
  });
}

// Effects: registers a single call beside two threads a CPU that call write() all the time.
template <class Contender>
void add_among_writers(const std::string& name) {
  add_timed(name + "/among writers", [](benchmark::State&) {
    [[maybe_unused]] const typename scope_of<Contender>::type scope;
    const auto own = std::make_unique<apart<Contender>>();
    writer_of<Contender> writer{own->contender};
    return run_among(own->contender, writer);
  });
}

// Effects: registers a figure that is no time, measured once in a run, in this unit.
template <class Measure>
void add_figure(const std::string& name, const std::string& unit, Measure measure) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [unit, measure](benchmark::State& state) {
                                 for (auto _ : state) {
                                   state.counters["figure"] = measure();
                                   state.SetIterationTime(1e-9);
                                 }
                                 state.SetLabel(unit);
                               })
      ->Iterations(1)
      ->UseManualTime()
      ->Repetitions(1);
}

// What a source of a family registers before main() begins:
//   const bench::contenders here([] { bench::add<...>(...); });
struct contenders {
  template <class Register>
  explicit contenders(Register make) {
    make();
  }
};

// Effects: what main() returns; runs what was registered.
inline int run(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[argc - 1], "--quick") == 0) {
    quick = true;
    --argc;
  }
  const second_thread alive;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench
