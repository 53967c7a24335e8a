// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue: transfers in order for each account, side by side for different accounts.
// Prints: alice 70 bob 130, then 60; 100 letters

#include <interlock/inplace_stop_token.hpp>
#include <interlock/keyed_serial_queue.hpp>
#include <interlock/task.hpp>

#include <cstdio>
#include <string>

using interlock::inplace_stop_token;
using interlock::keyed_serial_queue;
using interlock::task;

task<bool> pay(keyed_serial_queue<std::string>& accounts, int& alice, inplace_stop_token stop) {
  const auto paid = co_await accounts.submit("alice", [&] { alice -= 10; }, stop);
  co_return paid.ran();  // false: stopped, before it began
}

int main() {
  int alice = 100;  // only tasks of the key "alice" touch it
  int bob = 100;    // only tasks of the key "bob" touch it
  keyed_serial_queue<std::string> accounts({.workers = 2});
  const auto debit = accounts.post("alice", [&] { alice -= 30; });
  const auto credit = accounts.post("bob", [&] { bob += 30; });
  const int left = accounts.run("alice", [&] { return alice; });
  accounts.drain();

  interlock::inplace_stop_source stop;
  const bool paid = interlock::sync_wait(pay(accounts, alice, stop.get_token()));
  accounts.drain();

  int letters = 0;
  keyed_serial_queue<std::string> mail({.capacity = 2, .workers = 1});
  for (int i = 0; i < 100; ++i) {
    const auto placed = mail.post_wait("bob", [&] { ++letters; });
    if (placed != interlock::post_result::accepted) return 1;
  }
  mail.drain();
  std::printf("alice %d bob %d, then %d; %d letters\n", left, bob, alice, letters);
  const bool both = debit == interlock::post_result::accepted && credit == debit;
  return both && left == 70 && bob == 130 && paid && alice == 60 && letters == 100 ? 0 : 1;
}
