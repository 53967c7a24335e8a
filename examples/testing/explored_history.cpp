// SPDX-License-Identifier: BSL-1.0
// Every execution of two hits is checked as a history. Prints:
//   2 executions, 0 blocked, 0 pruned
//   the naive form: check failed: no order explains the answer of thread 1: add(1) saw 0 ...

#include <interlock/testing/explored_history.hpp>
#include <interlock/testing/specifications.hpp>

#include <cstdio>

using namespace interlock::testing;  // NOLINT: the example is about nothing else

int main() {
  const auto report = explore([](world& w) {
    atomic<int> hits{0};
    explored_history<counter_call> calls;
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        calls.record({.amount = 1}, [&](auto& call) { call.seen = hits.fetch_add(1); });
      });
    }
    w.finally([&] { calls.check(counter_state{}); });
  });
  std::printf("%s\n", report.text().c_str());

  const auto naive = explore([](world& w) {
    atomic<int> hits{0};
    explored_history<counter_call> calls;
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        calls.record({.amount = 1}, [&](auto& call) {
          call.seen = hits.load();
          hits.store(static_cast<int>(call.seen) + 1);
        });
      });
    }
    w.finally([&] { calls.check(counter_state{}); });
  });
  std::printf("the naive form: %s\n", naive.text().c_str());
  return report.proved() && !naive.failure.empty() ? 0 : 1;
}
