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
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
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
      return [all, key = who + what] { return all->next(key); };
    };
    add_checked(state_->job + "/" + who + elapsed, figure(elapsed));
    add_checked(state_->job + "/" + who + client_cpu, figure(client_cpu));
    if (who.rfind("interlock::", 0) != 0) return *this;
    const std::string family = state_->job.substr(0, state_->job.find('/') + 1);
    add_checked(family + state_->job.substr(family.size()) + ", CPU of " + who + " beyond " +
                    state_->yardstick,
                figure(beyond));
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

    // Returns: the next repetition's figure; runs one if there is none left.
    double next(const std::string& key) {
      std::deque<double>& left = figures[key];
      if (left.empty()) run();
      const double figure = left.front();
      left.pop_front();
      return figure;
    }

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
        figures[one.who + elapsed].push_back(median(walls));
        figures[one.who + client_cpu].push_back(median(cpus));
        figures[one.who + beyond].push_back(median(more));
      }
      for (party& one : parties) one.turns.clear();
    }

    std::string job;
    std::string yardstick;
    int each;
    std::vector<party> parties{};
    std::map<std::string, std::deque<double>> figures{};
  };

  std::shared_ptr<state> state_;
};

// Effects: registers JOB/WHO/64 callers: wall time of an operation when 64 threads call at once.
//          The contender's call operator is given the number of its thread.
template <class Contender>
void add_callers(const std::string& name) {
  add_checked(name + "/64 callers", [] {
    static const auto own = std::make_shared<Contender>();
    std::atomic<std::uint64_t> calls{0};
    std::atomic<bool> failed{false};
    const auto start = clock::now();
    const auto deadline = start + std::chrono::milliseconds(quick ? 30 : 400);
    std::vector<std::thread> callers;
    for (unsigned lane = 0; lane < 64; ++lane) {
      callers.emplace_back([&, lane] {
        try {
          for (; clock::now() < deadline; calls.fetch_add(1)) (*own)(lane);
        } catch (const std::exception&) {
          failed.store(true);
        }
      });
    }
    for (std::thread& one : callers) one.join();
    if (failed.load()) throw std::runtime_error("an operation was not applied");
    return ns_since(start) / static_cast<double>(calls.load());
  });
}

}  // namespace bench
