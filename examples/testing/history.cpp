// SPDX-License-Identifier: BSL-1.0
// Was each answer right, and do all of them fit together? Prints, where the numbers vary:
//   fetch_add: correct
//   by a search: correct
//   load and store: thread 1: add(1) saw 5 [10, 12] which another add had changed already
//   a stack: no order explains the answer of thread 1: pop gave 1 [1, 3]

#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/monitors.hpp>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

using interlock::testing::counter_call;
using interlock::testing::counter_state;
using interlock::testing::history;
using interlock::testing::linearizable;
using interlock::testing::monitor_counter;
using interlock::testing::recorded;
using interlock::testing::ticket_clock;
using interlock::testing::verdict;

// What threads recorded of a counter.
template <class Hit>
std::vector<recorded<counter_call>> hits(Hit hit) {
  constexpr std::size_t threads = 4;
  ticket_clock clock;
  history<counter_call> calls(clock, threads);
  std::vector<std::thread> all;
  for (std::size_t me = 0; me < threads; ++me) {
    all.emplace_back([&, me] {
      for (int i = 0; i < 10'000; ++i) calls.record(me, {.amount = 1}, hit);
    });
  }
  for (std::thread& thread : all) thread.join();
  return calls.operations();
}

// An object of your own: its operations, with question and answer ...
struct stack_call {
  bool push = false;
  int value = 0;  // pop: what came out
};
std::string describe(const stack_call& call) {
  return (call.push ? "push " : "pop gave ") + std::to_string(call.value);
}

// ... and what it would do if nothing ran at once.
struct stack {
  std::vector<int> values;

  bool apply(const stack_call& call, bool answered) {
    if (call.push) {
      values.push_back(call.value);
      return true;
    }
    if (values.empty()) return !answered;
    if (answered && values.back() != call.value) return false;
    values.pop_back();
    return true;
  }
  bool operator==(const stack&) const = default;
};

int main() {
  std::atomic<std::int64_t> clicks{0};
  const auto hit = [&](counter_call& call) { call.seen = clicks++; };
  const auto all = hits(hit);
  const verdict answer = monitor_counter(all);
  std::printf("fetch_add: %s\n", answer.text().c_str());
  const verdict any = linearizable(all, counter_state{});
  std::printf("by a search: %s\n", any.text().c_str());

  verdict naive;
  for (int attempt = 0; attempt < 100 && naive; ++attempt) {
    std::atomic<std::int64_t> loaded{0};
    naive = monitor_counter(hits([&](counter_call& call) {
      call.seen = loaded.load();
      if (call.seen % 64 == 0) std::this_thread::yield();
      loaded.store(call.seen + 1);
    }));
  }
  std::printf("load and store: %s\n", naive.text().c_str());

  const std::vector<recorded<stack_call>> wrong{{{true, 1}, {0, 1}, 0},
                                                {{true, 2}, {0, 1}, 1},
                                                {{false, 1}, {1, 2}, 0},
                                                {{false, 1}, {1, 3}, 1}};
  const verdict twice = linearizable(wrong, stack{});
  std::printf("a stack: %s\n", twice.text().c_str());
  return answer && any && !naive && !twice ? 0 : 1;
}
