// SPDX-License-Identifier: BSL-1.0
// Four threads serve requests while another reports how many, and starts again from zero each
// time. Prints "40000 requests, 40000 reported".

#include <interlock/striped_counter.hpp>

#include <atomic>
#include <iostream>
#include <thread>
#include <vector>

using interlock::striped_counter;

int main() {
  striped_counter requests;
  const auto serve = [&] { ++requests; };

  std::atomic<bool> closing{false};
  std::int64_t reported = 0;
  std::thread reporter([&] {
    while (!closing.load(std::memory_order_acquire)) {
      reported += requests.exchange(0);
      std::this_thread::yield();
    }
    reported += requests.exchange(0);
  });

  std::vector<std::thread> servers;
  for (int i = 0; i < 4; ++i) {
    servers.emplace_back([&] {
      for (int request = 0; request < 10'000; ++request) serve();
    });
  }
  for (std::thread& server : servers) server.join();
  closing.store(true, std::memory_order_release);
  reporter.join();

  std::cout << "40000 requests, " << reported << " reported\n";
  return reported == 40'000 && requests.load() == 0 ? 0 : 1;
}
