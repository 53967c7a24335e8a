// SPDX-License-Identifier: BSL-1.0
// Four box offices sell 100000 tickets, in ones and threes, and each goes on until it is refused.
// Prints "100000 sold, 0 left".

#include <interlock/striped_bounded_counter.hpp>

#include <atomic>
#include <iostream>
#include <thread>
#include <vector>

using interlock::striped_bounded_counter;

int main() {
  striped_bounded_counter tickets(100'000, 0, 100'000);
  const auto sell = [&](int n) { return tickets.try_sub(n) ? n : 0; };

  std::atomic<int> sold{0};
  std::vector<std::thread> offices;
  for (int i = 0; i < 4; ++i) {
    offices.emplace_back([&] {
      int mine = 0;
      while (const int n = sell(3)) mine += n;
      while (const int n = sell(1)) mine += n;  // a refusal is true: nobody held one back
      sold += mine;
    });
  }
  for (std::thread& office : offices) office.join();

  std::cout << sold << " sold, " << tickets.load() << " left\n";
  return sold == 100'000 && tickets.load() == 0 ? 0 : 1;
}
