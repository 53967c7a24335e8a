// SPDX-License-Identifier: BSL-1.0
// An alarm of a timer_thread, which is the clock of a program without an event loop. And a request
// that does not wait for a lock longer than its deadline.
// Prints: rung
//         busy: try again later

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>
#include <interlock/timer_thread.hpp>
#include <interlock/watermark.hpp>

#include <chrono>
#include <iostream>
#include <string>

using namespace interlock;
using namespace std::chrono_literals;

task<std::string> answer(async_mutex& account, timer_thread& timer) {
  const auto held = co_await account.lock_until(timer, timer.now() + 10ms);
  if (!held) co_return std::string("busy: try again later");
  co_return std::string("done");
}

int main() {
  watermark<int> rung(0);
  timer_thread timer;
  const timer_thread::alarm bell(timer, timer.now() + 10ms, [&] { rung.raise(1); });
  rung.wait_for_at_least(1);
  std::cout << "rung\n";

  async_mutex account;
  const auto somebody_else = account.lock_blocking();
  std::cout << sync_wait(answer(account, timer)) << '\n';
  return 0;
}
