// SPDX-License-Identifier: BSL-1.0
// serial_queue: a day of a shop's ledger. Tellers book, a coroutine pays, an auditor wants a sum, a
// journal takes what it has room for; in the evening the ledger closes.
// Prints:
//   balance 470, then 570 after 100 bookings
//   paid, 520 left; the auditor saw 520
//   overdraft refused: not enough money
//   journal: 40 of 40 lines written
//   after closing: refused

#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <cstdio>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using interlock::post_result;
using interlock::serial_queue;
using interlock::task;

// A coroutine waits for its turn without blocking a thread.
task<int> pay(serial_queue& ledger, int& balance, int amount) {
  const int left = co_await ledger.submit([&] { return balance -= amount; });
  co_return left;
}

// Where the journal is full this coroutine waits for a place, and no thread does.
task<int> write_lines(serial_queue& journal, std::vector<std::string>& pages, int count) {
  int written = 0;
  for (int i = 0; i < count; ++i) {
    const post_result how =
        co_await journal.async_post([&pages, i] { pages.push_back("line " + std::to_string(i)); });
    written += how == post_result::accepted;
  }
  co_return written;
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
        (void)ledger.post([&] { ++bookings, ++balance; });
      }
    });
  }
  for (std::thread& teller : tellers) teller.join();
  const int day = ledger.run([&] { return balance; });
  std::printf("balance %d, then %d after %d bookings\n", left, day, bookings);

  const int rest = interlock::sync_wait(pay(ledger, balance, 50));
  std::future<int> audit = ledger.submit_future([&] { return balance; });
  const int seen = audit.get();
  std::printf("paid, %d left; the auditor saw %d\n", rest, seen);

  // What a task throws reaches the one who asked.
  std::string why;
  try {
    ledger.run([&] {
      if (balance < 1000) throw std::runtime_error("not enough money");
      balance -= 1000;
    });
  } catch (const std::runtime_error& error) {
    why = error.what();
  }
  std::printf("overdraft refused: %s\n", why.c_str());

  std::vector<std::string> pages;
  serial_queue journal({.capacity = 4, .workers = 1});  // at most four lines wait
  const int lines = interlock::sync_wait(write_lines(journal, pages, 40));
  journal.drain();
  std::printf("journal: %d of %zu lines written\n", lines, pages.size());

  ledger.close();
  const bool refused = ledger.post([&] { balance = 0; }) == post_result::closed;
  ledger.drain();  // what was accepted before has ended
  std::printf("after closing: %s\n", refused ? "refused" : "booked");
  const bool right = posted == post_result::accepted && left == 470 && day == 570 && rest == 520;
  return right && bookings == 100 && seen == rest && lines == 40 && refused ? 0 : 1;
}
