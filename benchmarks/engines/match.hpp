// SPDX-License-Identifier: BSL-1.0
#pragma once

// One job that several do with an engine, taking turns of a millisecond or so: what disturbs the
// machine, or the server, disturbs all of them alike.
//
//   elapsed     time of one operation as its caller sees it: the median of the turns
//   client CPU  what the caller's thread computed meanwhile, without the server's part
//
// A contender is a default-constructible type whose call operator does the operation once and
// throws if that was not done. It connects when it is made, which is when the job begins.
//
//   bench::match("engines/redis counter add", "hiredis")
//       .enter<raw_add>("hiredis")
//       .enter<our_add>("interlock::redis::counter");
//
// registers .../elapsed and .../client CPU for each, and for ours "redis counter add, CPU of
// interlock::redis::counter beyond hiredis".

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/bench.hpp"

namespace bench {

// Effects: registers `measure`, which returns nanoseconds, once a repetition; what it throws ends
//          the run with its message.
template <class Measure>
void add_checked(const std::string& name, Measure measure) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [measure](benchmark::State& state) {
                                 for (auto _ : state) {
                                   try {
                                     report_ns(state, measure());
                                   } catch (const std::exception& error) {
                                     state.SkipWithError(error.what());
                                     break;
                                   }
                                 }
                               })
      ->Iterations(1)
      ->UseManualTime();
}

// Figures of several names, measured together, that are asked for one by one.
class figures_left {
public:
  void keep(const std::string& name, double figure) { left_[name].push_back(figure); }
  // Returns: the next repetition's figure; calls run(), which keeps one of each, if none is left.
  template <class Run>
  double next(const std::string& name, Run run) {
    std::deque<double>& of = left_[name];
    if (of.empty()) run();
    const double figure = of.front();
    of.pop_front();
    return figure;
  }

private:
  std::map<std::string, std::deque<double>> left_;
};

class match {
public:
  // job: FAMILY/JOB. The yardstick's name is that of a contender. `each`: operations of one call.
  match(std::string job, std::string yardstick, int each = 1)
      : state_(std::make_shared<state>(std::move(job), std::move(yardstick), each)) {}

  // Effects: one more contender, its figures registered.
  template <class Contender>
  match& enter(const std::string& who) {
    state_->parties.push_back({who,
                               [] {
                                 const auto own = std::make_shared<apart<Contender>>();
                                 return work([own](int calls) {
                                   for (int i = 0; i < calls; ++i) own->contender();
                                 });
                               },
                               {}});
    const auto figure = [all = state_, who](const char* what) {
      return [all, key = who + what] { return all->results.next(key, [&] { all->run(); }); };
    };
    add_checked(state_->job + "/" + who + elapsed, figure(elapsed));
    add_checked(state_->job + "/" + who + client_cpu, figure(client_cpu));
    if (who.rfind("interlock::", 0) != 0) return *this;
    add_checked(state_->job + ", CPU of " + who + " beyond " + state_->yardstick, figure(beyond));
    return *this;
  }

private:
  using work = std::function<void(int)>;
  static constexpr const char* elapsed = "/elapsed";
  static constexpr const char* client_cpu = "/client CPU";
  static constexpr const char* beyond = " beyond";

  struct turn {
    double wall;
    double cpu;
  };
  struct party {
    std::string who;
    std::function<work()> open;
    work does;
    std::vector<turn> turns{};
  };
  struct state {
    state(std::string of, std::string than, int times)
        : job(std::move(of)), yardstick(std::move(than)), each(times) {}

    turn take_turn(party& one, int calls) const {
      const double cpu = thread_cpu_ns();
      const auto start = clock::now();
      one.does(calls);
      const double wall = ns_since(start);
      const double count = static_cast<double>(calls) * each;
      return {wall / count, (thread_cpu_ns() - cpu) / count};
    }

    // Returns: as many calls as take about a millisecond.
    int warm_up(party& one) const {
      one.does = one.does ? one.does : one.open();
      one.does(4);  // which prepare statements and load scripts
      int calls = 1;
      for (;; calls *= 2) {
        const auto start = clock::now();
        one.does(calls);
        if (clock::now() - start > std::chrono::microseconds(500)) return calls;
      }
    }

    void run() {
      int calls = 1 << 20;
      for (party& one : parties) calls = std::min(calls, warm_up(one));
      const auto end = clock::now() +
                       std::chrono::milliseconds(quick ? 2 : 60) * static_cast<int>(parties.size());
      std::size_t first = 0;
      do {
        for (std::size_t i = 0; i < parties.size(); ++i) {
          party& one = parties[(first + i) % parties.size()];
          one.turns.push_back(take_turn(one, calls));
        }
        ++first;
      } while (clock::now() < end);
      keep();
    }

    void keep() {
      const auto than = std::find_if(parties.begin(), parties.end(),
                                     [&](const party& one) { return one.who == yardstick; });
      for (party& one : parties) {
        std::vector<double> walls, cpus, more;
        for (std::size_t i = 0; i < one.turns.size(); ++i) {
          walls.push_back(one.turns[i].wall);
          cpus.push_back(one.turns[i].cpu);
          more.push_back(one.turns[i].cpu - than->turns[i].cpu);
        }
        results.keep(one.who + elapsed, median(walls));
        results.keep(one.who + client_cpu, median(cpus));
        results.keep(one.who + beyond, median(more));
      }
      for (party& one : parties) one.turns.clear();
    }

    std::string job;
    std::string yardstick;
    int each;
    std::vector<party> parties{};
    figures_left results{};
  };

  std::shared_ptr<state> state_;
};

// One job of 64 threads that call at once: several ways to do it take turns of a tenth of a second.
// Registers JOB/WHO/64 callers: wall time over all operations. A contender's call operator is given
// the number of its thread.
class callers {
public:
  explicit callers(std::string job) : state_(std::make_shared<state>(std::move(job))) {}

  template <class Contender>
  callers& enter(const std::string& who) {
    state_->parties.push_back({who,
                               [] {
                                 const auto own = std::make_shared<Contender>();
                                 return work([own](unsigned lane) { (*own)(lane); });
                               },
                               {},
                               0,
                               0});
    add_checked(state_->job + "/" + who + "/64 callers",
                [all = state_, who] { return all->results.next(who, [&] { all->run(); }); });
    return *this;
  }

private:
  using work = std::function<void(unsigned)>;
  struct party {
    std::string who;
    std::function<work()> open;
    work does;
    double ns;
    std::uint64_t calls;
  };
  struct state {
    explicit state(std::string of) : job(std::move(of)) {}

    void run() {
      for (int turn = 0; turn < (quick ? 1 : 4); ++turn) {
        for (party& one : parties) take_turn(one);
      }
      for (party& one : parties) {
        results.keep(one.who, one.ns / static_cast<double>(one.calls));
        one.ns = 0;
        one.calls = 0;
      }
    }
    static void take_turn(party& one) {
      one.does = one.does ? one.does : one.open();
      std::atomic<std::uint64_t> calls{0};
      std::atomic<bool> failed{false};
      const auto start = clock::now();
      const auto deadline = start + std::chrono::milliseconds(quick ? 30 : 100);
      std::vector<std::thread> all;
      for (unsigned lane = 0; lane < 64; ++lane) {
        all.emplace_back([&, lane] {
          try {
            for (; clock::now() < deadline; calls.fetch_add(1)) one.does(lane);
          } catch (const std::exception&) {
            failed.store(true);
          }
        });
      }
      for (std::thread& each : all) each.join();
      if (failed.load()) throw std::runtime_error("an operation was not applied");
      one.ns += ns_since(start);
      one.calls += calls.load();
    }

    std::string job;
    std::vector<party> parties{};
    figures_left results{};
  };

  std::shared_ptr<state> state_;
};

}  // namespace bench
