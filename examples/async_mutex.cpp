// SPDX-License-Identifier: BSL-1.0
// Fifty requests on one thread read, await and write the same balance; then one that must not wait.
// Prints: 50 deposits of 10 made 500, the second report was told: busy

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <cstdio>
#include <utility>
#include <vector>

using interlock::async_mutex;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

struct account {
  async_mutex door;
  int balance = 0;
};

task<> audit(int) { co_await interlock::reschedule(); }

task<> deposit(account& to, int amount) {
  const auto held = co_await to.door.lock();
  const int before = to.balance;
  co_await audit(amount);  // others may run here, but not inside this account
  to.balance = before + amount;
}

}  // namespace

int main() {
  account savings;
  std::vector<task<>> requests;
  for (int i = 0; i < 50; ++i) requests.push_back(deposit(savings, 10));
  sync_wait(when_all(std::move(requests)));

  async_mutex report;  // takes long: a second one at the same time gets HTTP 429
  bool busy = false;
  const bool done = report.try_run_exclusive([&] {
    busy = !report.try_run_exclusive([] {});
  });

  std::printf("50 deposits of 10 made %d, the second report was told: %s\n", savings.balance,
              busy ? "busy" : "go ahead");
  return savings.balance == 500 && done && busy ? 0 : 1;
}
