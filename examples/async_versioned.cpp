// SPDX-License-Identifier: BSL-1.0
// A coroutine follows a price to its last version; it sleeps in between, and no thread waits for it.
// Prints "the price is 30"; how many versions it has seen on the way is a matter of time.

#include <interlock/task.hpp>
#include <interlock/versioned.hpp>

#include <cstdint>
#include <iostream>
#include <thread>

using interlock::sync_wait;
using interlock::task;
using interlock::versioned;

task<int> follow(const versioned<int>& price, std::uint64_t last) {
  int value = 0;
  for (std::uint64_t seen = 0; seen < last;) {
    const auto news = co_await price.async_wait(seen);
    seen = news.version;
    value = news.value;
  }
  co_return value;
}

int main() {
  versioned<int> price(0);
  std::thread market([&] {
    for (const int next : {10, 20, 30}) price.store(next);
  });
  const int value = sync_wait(follow(price, 3));
  market.join();
  std::cout << "the price is " << value << '\n';
  return value == 30 ? 0 : 1;
}
