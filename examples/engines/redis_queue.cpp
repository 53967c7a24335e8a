// SPDX-License-Identifier: BSL-1.0
// Bookings of accounts, in order for each, by machines that share a Redis server; and copies of the
// balances for whoever reads them.
// Prints: account-7 has 150, 1 set aside, the late copy was refused

#include <interlock/inplace_stop_token.hpp>
#include <interlock/redis/mirror_target.hpp>
#include <interlock/redis/serial_queue.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace redis = interlock::redis;
namespace store = interlock::store;
namespace testing = interlock::testing;
using namespace std::chrono_literals;

int main() {
  if (!testing::throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 77;
  }
  const testing::throwaway_redis throwaway;
  redis::client server(throwaway.url());
  redis::serial_queue<int> jobs(server, "jobs");
  jobs.push("account-7", 100).value();
  jobs.push("account-7", 0).value();  // which always fails
  jobs.push("account-7", 50).value();

  redis::mirror_target<std::string, int> copies(server, "balances");
  interlock::inplace_stop_source stop;
  int balance = 0;
  std::uint64_t bookings = 0;
  store::work_options how;
  how.delay = [](std::uint64_t) { return 1ms; };
  const auto done = jobs.work(
      [&](auto& item) {
        if (item.value() == 0) throw std::invalid_argument("an empty booking");
        balance += item.value();
        copies.put_if_newer(item.key(), {1, ++bookings}, balance).value();
        if (balance == 150) stop.request_stop();
      },
      stop.get_token(), how);

  const auto late = copies.put_if_newer("account-7", {1, 1}, 100);
  const auto copy = copies.get("account-7").value();
  const auto aside = jobs.set_aside().value();
  std::printf("account-7 has %d, %d set aside, the late copy was %s\n", copy.value.value_or(0),
              static_cast<int>(aside.size()), late.conflicted() ? "refused" : "taken");
  return copy.value == 150 && done.finished == 2 && aside.size() == 1 && late.conflicted() ? 0 : 1;
}
