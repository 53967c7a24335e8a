// SPDX-License-Identifier: BSL-1.0
// Bookings of accounts, in order for each, by workers that may die.
// Prints: account-7 has 150, 2 done, 1 set aside

#include <interlock/inplace_stop_token.hpp>
#include <interlock/memory/client.hpp>
#include <interlock/memory/serial_queue.hpp>

#include <chrono>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>

namespace memory = interlock::memory;
namespace store = interlock::store;
using namespace std::chrono_literals;

int main() {
  memory::client engine;
  std::map<std::string, int> balance;
  interlock::inplace_stop_source stop;
  const auto book = [&](const std::string& account, int amount) {
    if (amount == 0) throw std::invalid_argument("an empty booking");
    balance[account] += amount;
    if (balance[account] == 150) stop.request_stop();
  };

  memory::serial_queue<int> jobs(engine, "jobs");
  jobs.push("account-7", 100).value();
  jobs.push("account-7", 0).value();  // which always fails
  jobs.push("account-7", 50).value();
  store::work_options how;
  how.delay = [](std::uint64_t) { return 1ms; };
  const auto done =
      jobs.work([&](auto& item) { book(item.key(), item.value()); }, stop.get_token(), how);

  const auto aside = jobs.set_aside().value();
  std::printf("account-7 has %d, %d done, %d set aside\n", balance["account-7"],
              static_cast<int>(done.finished), static_cast<int>(aside.size()));
  return balance["account-7"] == 150 && done.finished == 2 && aside.size() == 1 ? 0 : 1;
}
