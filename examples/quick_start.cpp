// SPDX-License-Identifier: BSL-1.0
// Two users at once: 50 clicks, and one seat that must be sold once.

#include <interlock/interlock.hpp>

#include <cstdio>
#include <thread>

int main() {
  interlock::counter clicks(100);
  interlock::bounded_counter seats(1, 0, 1);
  interlock::counter sold(0);

  const auto user = [&] {
    for (int i = 0; i < 25; ++i) ++clicks;
    if (seats.try_sub(1)) ++sold;
  };
  std::thread first(user);
  std::thread second(user);
  first.join();
  second.join();

  std::printf("%d clicks, %d seat sold\n", int(clicks.load()), int(sold.load()));
  return clicks.load() == 150 && sold.load() == 1 ? 0 : 1;
}
