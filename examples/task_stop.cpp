// SPDX-License-Identifier: BSL-1.0
// Tasks that are called off: one of three fails, and the others stop waiting for their lock.
// Prints: no such account, 0 deposited, 2 called off

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <cstdio>
#include <stdexcept>

using interlock::async_mutex;
using interlock::current_stop_token;
using interlock::inplace_stop_token;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

struct account {
  async_mutex door;
  int balance = 0;
  int called_off = 0;
};

task<> deposit(account& to, int amount) {
  const inplace_stop_token stop = co_await current_stop_token();
  const auto held = co_await to.door.lock(stop);
  if (held) {
    to.balance += amount;
  } else {
    ++to.called_off;
  }
}

task<> check_name() {
  co_await reschedule();  // ask the directory
  throw std::runtime_error("no such account");
}

task<> transfer(account& to) {
  const auto audited = co_await to.door.lock();  // so both deposits wait
  try {
    co_await when_all(deposit(to, 5), deposit(to, 7), check_name());
  } catch (const std::runtime_error& failure) {
    std::printf("%s, %d deposited, %d called off\n", failure.what(), to.balance, to.called_off);
  }
}

}  // namespace

int main() {
  account to;
  sync_wait(transfer(to));
  return to.balance == 0 && to.called_off == 2 ? 0 : 1;
}
