// SPDX-License-Identifier: BSL-1.0
// A test that does not wait: its time goes on when it says so.
// Prints: 59 minutes later
//         rings

#include <interlock/manual_timer.hpp>

#include <chrono>
#include <cstdio>

using namespace interlock;
using namespace std::chrono_literals;

int main() {
  manual_timer timer;
  const manual_timer::alarm bell(timer, timer.now() + 1h, [] { std::puts("rings"); });
  timer.advance_to(timer.now() + 59min);  // nothing
  std::puts("59 minutes later");
  timer.advance_to(timer.now() + 1min);   // rings
  return 0;
}
