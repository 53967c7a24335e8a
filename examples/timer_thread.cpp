// SPDX-License-Identifier: BSL-1.0
// An alarm of a timer_thread, which is the clock of a program without an event loop; and one that is
// called off.
// Prints "rung".

#include <interlock/timer_thread.hpp>
#include <interlock/watermark.hpp>

#include <chrono>
#include <iostream>

using namespace interlock;
using namespace std::chrono_literals;

int main() {
  watermark<int> rung(0);
  timer_thread timer;
  const timer_thread::alarm bell(timer, timer.now() + 10ms, [&] { rung.raise(1); });
  rung.wait_for_at_least(1);
  std::cout << "rung\n";

  const timer_thread::alarm late(timer, timer.now() + 24h, [] { std::cout << "a day later\n"; });
  return 0;
}
