// SPDX-License-Identifier: BSL-1.0
// serial_queue: many threads book into one ledger, one at a time; who asks gets the answer.
// Prints: balance 470 after 100 bookings

#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <cstdio>
#include <thread>
#include <vector>

using interlock::serial_queue;
using interlock::task;

// A coroutine waits for its turn without blocking a thread.
task<int> pay(serial_queue& ledger, int& balance, int amount) {
  const int left = co_await ledger.submit([&] { return balance -= amount; });
  co_return left;
}

int main() {
  int balance = 0;  // no mutex, no atomic: only tasks of the queue touch it
  int bookings = 0;
  serial_queue ledger;
  const auto posted = ledger.post([&] { balance += 500; });    // fire and forget
  const int left = ledger.run([&] { return balance -= 30; });  // 470
  ledger.drain();

  std::vector<std::thread> tellers;
  for (int i = 0; i < 4; ++i) {
    tellers.emplace_back([&] {
      for (int k = 0; k < 25; ++k) {
        (void)ledger.post([&] { ++bookings, balance += k % 2 == 0 ? 1 : -1; });
      }
    });
  }
  for (std::thread& teller : tellers) teller.join();
  const int total = interlock::sync_wait(pay(ledger, balance, 4));
  std::printf("balance %d after %d bookings\n", left, bookings);
  return posted == interlock::post_result::accepted && left == 470 && bookings == 100 &&
                 total == 470
             ? 0
             : 1;
}
