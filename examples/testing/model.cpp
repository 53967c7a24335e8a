// SPDX-License-Identifier: BSL-1.0
// Two threads count a hit each. Prints:
//   2 executions, 0 blocked, 0 pruned
//   the naive form: check failed: no hit is lost
// and for the naive form the execution that loses one.

#include <interlock/testing/model.hpp>

#include <cstdio>

namespace testing = interlock::testing;

int main() {
  const auto report = testing::explore([](testing::world& w) {
    testing::atomic<int> hits{0};
    for (int i = 0; i < 2; ++i) w.thread([&] { hits.fetch_add(1); });
    w.finally([&] { testing::check(hits.load() == 2, "no hit is lost"); });
  });
  std::printf("%s\n", report.text().c_str());

  const auto naive = testing::explore([](testing::world& w) {
    testing::atomic<int> hits{0};
    for (int i = 0; i < 2; ++i) w.thread([&] { hits.store(hits.load() + 1); });
    w.finally([&] { testing::check(hits.load() == 2, "no hit is lost"); });
  });
  std::printf("the naive form: %s\n", naive.text().c_str());
  return report.proved() && report.executions == 2 && !naive.failure.empty() ? 0 : 1;
}
