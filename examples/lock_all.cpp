// SPDX-License-Identifier: BSL-1.0
// Fifty transfers from A to B and fifty back, across an await, and nobody sees money that is on its
// way; then one that must not wait.
// Prints: 100 transfers, A 1000, B 1000, at one time never other than 2000; one was told: busy

#include <interlock/lock_all.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <cstdio>
#include <utility>
#include <vector>

using interlock::async_mutex;
using interlock::lock_all;
using interlock::sync_wait;
using interlock::task;
using interlock::try_lock_all;
using interlock::when_all;

namespace {

struct account {
  async_mutex door;
  int balance = 1000;
};

task<> audit(int) { co_await interlock::reschedule(); }

task<> move_money(account& from, account& to, int amount) {
  const auto both = co_await lock_all(from.door, to.door);
  from.balance -= amount;
  co_await audit(amount);  // nobody sees the money between the accounts
  to.balance += amount;
}

task<> look(account& a, account& b, int& wrong) {
  const auto both = co_await lock_all(b.door, a.door);
  if (a.balance + b.balance != 2000) ++wrong;
}

}  // namespace

int main() {
  account a;
  account b;
  int wrong = 0;
  std::vector<task<>> requests;
  for (int i = 0; i < 50; ++i) {
    requests.push_back(move_money(a, b, 30));
    requests.push_back(move_money(b, a, 30));
    requests.push_back(look(a, b, wrong));
  }
  sync_wait(when_all(std::move(requests)));

  const auto report = a.door.try_lock();
  const auto both = try_lock_all(a.door, b.door);
  std::printf("100 transfers, A %d, B %d, at one time %s other than 2000; one was told: %s\n",
              a.balance, b.balance, wrong == 0 ? "never" : "once", both ? "go ahead" : "busy");
  return a.balance == 1000 && b.balance == 1000 && wrong == 0 && report && !both ? 0 : 1;
}
