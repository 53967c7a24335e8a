// SPDX-License-Identifier: BSL-1.0
// Would the test of a hand-over notice a weaker memory order? Each line is changed, alone.

#include <interlock/testing/mutation.hpp>

#include <atomic>
#include <iostream>

namespace testing = interlock::testing;

namespace {

void hand_over(testing::world& w) {
  testing::var<int> parcel{0};
  testing::atomic<bool> ready{false};
  w.thread([&] {
    parcel = 7;
    ready.store(true, std::memory_order_release);
  });
  w.thread([&] {
    if (ready.load(std::memory_order_acquire)) testing::check(parcel == 7, "the parcel is there");
  });
  w.finally([&] { testing::check(ready.load(std::memory_order_relaxed), "it was sent"); });
}

}  // namespace

int main() {
  const auto result = testing::mutate({hand_over});
  int killed = 0;
  for (const testing::mutant& one : result.mutants) {
    std::cout << one.place << ": " << one.change
              << (one.killed() ? ": killed\n" : ": survived\n");
    if (one.killed()) ++killed;
  }
  // Four changes make a race or lose the message; that the loads are not repeated changes nothing.
  return killed == 4 ? 0 : 1;
}
