// SPDX-License-Identifier: BSL-1.0
// Two transfers lock two accounts in opposite orders. The tracked mutex says so when the circle
// closes, and the handler turns the lock that closes it into an exception.
// Prints: the report, then: 1 of 2 transfers came through, A has 90 and B has 110

#include <interlock/async_mutex.hpp>
#include <interlock/lock_owner.hpp>
#include <interlock/lock_report.hpp>
#include <interlock/task.hpp>
#include <interlock/tracked_async_mutex.hpp>
#include <interlock/when_all.hpp>

#include <cstdio>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

using interlock::lock_owner;
using interlock::lock_report;
using interlock::named;
using interlock::on_lock_report;
using interlock::task;

namespace {

constexpr bool debug = true;  // yours: the same in every file of the program

using my_mutex = std::conditional_t<debug, interlock::tracked_async_mutex, interlock::async_mutex>;

struct account {
  explicit account(const char* name) : door(named<my_mutex>(name)) {}
  my_mutex door;
  int balance = 100;
};

task<> audit(int) {
  co_await interlock::reschedule();
}

task<> transfer(account& from, account& to, int amount, const char* name) {
  lock_owner me(name);
  const auto first = co_await me.at(from.door).lock();
  co_await audit(amount);  // the other transfer runs here
  const auto second = co_await me.at(to.door).lock();
  from.balance -= amount;
  to.balance += amount;
}

task<bool> came_through(task<> one) {
  try {
    co_await std::move(one);
  } catch (const std::runtime_error&) {
    co_return false;
  }
  co_return true;
}

}  // namespace

int main() {
  on_lock_report([](const lock_report& report) {
    std::fputs(to_string(report).c_str(), stdout);
    if (report.certain) throw std::runtime_error("deadlock");
  });

  account a("account A"), b("account B");
  std::vector<task<bool>> both;
  both.push_back(came_through(transfer(a, b, 10, "transfer A to B")));
  both.push_back(came_through(transfer(b, a, 10, "transfer B to A")));
  int through = 0;
  for (const bool one : interlock::sync_wait(interlock::when_all(std::move(both)))) through += one;

  std::printf("%d of 2 transfers came through, A has %d and B has %d\n", through, a.balance,
              b.balance);
  return through == 1 && a.balance == 90 && b.balance == 110 ? 0 : 1;
}
