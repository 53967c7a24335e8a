// SPDX-License-Identifier: BSL-1.0
// serial_lane: a lane in each of many accounts, 8 bytes each.
// Prints: 16 bytes an account, 1000 booked

#include <interlock/serial_lane.hpp>

#include <cstdio>
#include <thread>
#include <vector>

using interlock::serial_lane;

struct account {
  long balance = 0;
  serial_lane lane;
};

int main() {
  std::vector<account> accounts(100);
  std::vector<std::thread> tellers;
  for (int t = 0; t < 2; ++t) {
    tellers.emplace_back([&accounts] {
      for (int i = 0; i < 500; ++i) {
        account& one = accounts[static_cast<std::size_t>(i % 100)];
        one.lane.run([&one] { ++one.balance; });
      }
    });
  }
  for (std::thread& teller : tellers) teller.join();

  account alice{1030, {}};
  alice.lane.run([&] { alice.balance -= 30; });
  long booked = 0;
  for (const account& one : accounts) booked += one.balance;
  std::printf("%zu bytes an account, %ld booked\n", sizeof(account), booked);
  return booked == alice.balance ? 0 : 1;
}
