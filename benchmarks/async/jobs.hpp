// SPDX-License-Identifier: BSL-1.0
#pragma once

// The jobs of this family, each with a name and a way to time it.

#include <interlock/when_all.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "async/loop.hpp"
#include "support/yardsticks.hpp"

namespace async {

using interlock::task;

inline const std::string in_a_coroutine = "async/a section in a coroutine/";
inline const std::string in_a_thread = "async/a section in a thread/";
inline const std::string only_a_pair = "async/lock and unlock in a thread, nothing between/";
inline const std::string held_across_a_yield = "async/50 coroutines, held across a yield/";
inline const std::string loops_short = "async/2 loops of 1000 coroutines, short sections/";
inline const std::string loops_held = "async/2 loops of 1000 coroutines, held across a yield/";
inline const std::string mixed_short = "async/a thread beside 50 coroutines, short sections/";
inline const std::string mixed_held =
    "async/a thread beside 50 coroutines that hold across a yield/";
inline const std::string permit_in_a_coroutine = "async/one of 10 permits in a coroutine/";
inline const std::string permit_in_a_thread = "async/one of 10 permits in a thread/";
inline const std::string only_permit_in_a_thread = "async/the only permit in a thread/";
inline const std::string fifty_by_ten = "async/50 coroutines, 10 permits, held across a yield/";
inline const std::string has_been = "async/wait for what has happened, in a coroutine/";
inline const std::string set_then_wait = "async/set and wait, in a coroutine/";
inline const std::string two_by_turns = "async/2 coroutines by turns, each turn/";
inline const std::string a_child = "async/call a coroutine and wait for it/";
inline const std::string a_yield = "async/a yield, no lock/";

constexpr int visitors = 50;
constexpr int visits = 400;  // so many that making and starting the crowd hardly counts
constexpr int turns_each = 5000;

// Effects: registers a coroutine that repeats something: make(state) returns the task, whose loop
//          over the state is inside, so that no frame is made per operation.
template <class Make>
void add_repeated(const std::string& name, Make make) {
  benchmark::RegisterBenchmark((name + "/alone").c_str(), [make](benchmark::State& state) {
    interlock::sync_wait(make(state));
  });
}

// A door is what excludes: its enter() gives an awaitable of a guard. Each on cache lines of its
// own.
template <class Door>
task<> sections(benchmark::State& state) {
  const auto own = std::make_unique<bench::apart<Door>>();
  Door& door = own->contender;
  std::int64_t value = 0;
  for (auto _ : state) {
    const auto held = co_await door.enter();
    if (!held) std::abort();
    benchmark::DoNotOptimize(++value);
  }
}

// The same with a lock that blocks the thread.
template <class Section>
task<> blocking_sections(benchmark::State& state) {
  const auto own = std::make_unique<bench::apart<Section>>();
  Section& section = own->contender;
  for (auto _ : state) section(0);
  co_return;
}

// Returns: CPU time of this thread per visit: `make()` gives each of the visitors' tasks.
template <class Make>
double crowd_on_one_thread(Make make) {
  std::vector<double> runs;
  for (int run = 0; run < (bench::quick ? 3 : 11); ++run) {
    std::vector<task<>> crowd;
    for (int i = 0; i < visitors; ++i) crowd.push_back(make());
    const double start = bench::thread_cpu_ns();
    interlock::sync_wait(interlock::when_all(std::move(crowd)));
    runs.push_back((bench::thread_cpu_ns() - start) / (visitors * visits));
  }
  return bench::median(runs);
}

template <class Door>
task<> visit(Door& door, std::int64_t& value) {
  for (int i = 0; i < visits; ++i) {
    const auto held = co_await door.enter();
    if (!held) std::abort();
    const std::int64_t seen = value;
    co_await interlock::reschedule();
    value = seen + 1;
  }
}

// Effects: registers fifty coroutines of one thread; each holds the door across a suspension, so
//          all others queue.
template <class Door>
void add_held_across_a_yield(const std::string& who) {
  bench::add_timed(held_across_a_yield + who + "/alone", [](benchmark::State&) {
    Door door;
    std::int64_t value = 0;
    return crowd_on_one_thread([&] { return visit(door, value); });
  });
}

// Returns: CPU time for one turn of either: of make(shared, true) and make(shared, false).
template <class Shared, class Make>
double two_coroutines_by_turns(Make make) {
  std::vector<double> runs;
  for (int run = 0; run < (bench::quick ? 3 : 11); ++run) {
    Shared shared;
    const double start = bench::thread_cpu_ns();
    interlock::sync_wait(interlock::when_all(make(shared, true), make(shared, false)));
    runs.push_back((bench::thread_cpu_ns() - start) / (2 * turns_each));
  }
  return bench::median(runs);
}

// Two pinned threads that begin at once and end when both have done their part.
class pair_run {
public:
  // Effects: repeats until 20 runs were clean, that is until nobody else had our CPUs, or time is
  //          up. prepare() returns an object that is called with the lane, 0 or 1, on each thread.
  template <class Prepare>
  pair_run(benchmark::State& state, Prepare prepare) {
    const auto end = bench::clock::now() + std::chrono::milliseconds(bench::quick ? 30 : 300);
    while (clean_.size() < 20 && (all_.empty() || bench::clock::now() < end)) {
      const auto work = prepare();
      run(*work);
    }
    if (clean_.size() < enough) state.counters["windows"] = static_cast<double>(clean_.size());
  }

  // Returns: the median time from the start to the later end.
  double ns() const { return bench::median(clean_.size() < enough ? all_ : clean_); }

private:
  static constexpr std::size_t enough = 3;

  struct side {
    bench::clock::time_point start;
    bench::clock::time_point end;
    double kept_waiting = 0;  // ns in which it could have run, but others did
  };

  static double kept_waiting() {
    double ran = 0;
    double waited = 0;
    std::ifstream("/proc/thread-self/schedstat") >> ran >> waited;
    return waited;
  }

  template <class Work>
  void run(Work& work) {
    std::array<side, 2> sides;
    std::atomic<int> present{0};
    const auto part = [&](unsigned lane) {
      bench::pin_to_cpu(lane);
      present.fetch_add(1);
      while (present.load() < 2) std::this_thread::yield();
      const double before = kept_waiting();
      sides[lane].start = bench::clock::now();
      work(lane);
      sides[lane].end = bench::clock::now();
      sides[lane].kept_waiting = kept_waiting() - before;
    };
    {
      std::thread other([&] { part(1); });
      std::thread([&] { part(0); }).join();
      other.join();
    }
    const auto begin = std::max(sides[0].start, sides[1].start);
    const auto end = std::max(sides[0].end, sides[1].end);
    all_.push_back(std::chrono::duration<double, std::nano>(end - begin).count());
    if (sides[0].kept_waiting + sides[1].kept_waiting < 0.1 * all_.back()) {
      clean_.push_back(all_.back());
    }
  }

  std::vector<double> all_;
  std::vector<double> clean_;
};

constexpr int crowd = 1000;  // on each loop
constexpr int rounds = 20;

// Two loops with their coroutines spawned; call operator: runs one of them.
struct two_loops {
  loops both;
  void operator()(unsigned lane) { both[lane].run(); }
};

// Effects: registers two loops of 1000 coroutines each that all do visitor(home, shared).
// Requires: Shared is default-constructible.
template <class Shared, class Visitor>
void add_loops(const std::string& name, Visitor visitor) {
  bench::add_timed(name + "/2 threads", [visitor](benchmark::State& state) {
    struct work : two_loops {
      Shared shared;
    };
    const pair_run result(state, [&] {
      auto fresh = std::make_unique<work>();
      for (loop& home : fresh->both) {
        for (int i = 0; i < crowd; ++i) visitor(home, fresh->shared);
      }
      return fresh;
    });
    return result.ns() / (2.0 * crowd * rounds);
  });
}

// Effects: registers 50 coroutines of one loop that do visitor(home, shared) again and again,
// beside
//          a thread that calls section(shared) as often as all of them together.
template <class Shared, class Visitor, class Section>
void add_mixed(const std::string& name, Visitor visitor, Section section) {
  constexpr int each = visitors * rounds;
  bench::add_timed(name + "/2 threads", [=](benchmark::State& state) {
    struct work {
      loops both;
      Shared shared;
      Section section;
      void operator()(unsigned lane) {
        if (lane == 0) return both[0].run();
        for (int i = 0; i < each; ++i) section(shared);
      }
    };
    const pair_run result(state, [&] {
      auto fresh = std::unique_ptr<work>(new work{{}, {}, section});
      for (int i = 0; i < visitors; ++i) visitor(fresh->both[0], fresh->shared);
      return fresh;
    });
    return result.ns() / (2.0 * each);
  });
}

}  // namespace async
