// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue: transfers in order for each account, side by side for different accounts.
// Prints: alice 70 bob 130

#include <interlock/keyed_serial_queue.hpp>

#include <cstdio>
#include <string>

int main() {
  using interlock::keyed_serial_queue;

  int alice = 100;  // only tasks of the key "alice" touch it
  int bob = 100;    // only tasks of the key "bob" touch it
  keyed_serial_queue<std::string> accounts({.workers = 2});
  const auto debit = accounts.post("alice", [&] { alice -= 30; });
  const auto credit = accounts.post("bob", [&] { bob += 30; });
  const int left = accounts.run("alice", [&] { return alice; });
  accounts.drain();

  std::printf("alice %d bob %d\n", left, bob);
  const bool both = debit == interlock::post_result::accepted && credit == debit;
  return both && left == 70 && bob == 130 ? 0 : 1;
}
