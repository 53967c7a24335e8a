// SPDX-License-Identifier: BSL-1.0
// A reader waits until the replica has applied position 3, and then sees what was applied.
// Prints "order 3 is replicated".

#include <interlock/watermark.hpp>

#include <cstdint>
#include <iostream>
#include <string>
#include <thread>

using interlock::watermark;

int main() {
  std::string log;

  watermark<std::uint64_t> replicated(0);
  std::thread replica([&] {
    log = "order 3";
    replicated.raise(3);
  });
  replicated.wait_for_at_least(3);
  std::cout << log << " is replicated\n";

  const bool late_news_is_ignored = !replicated.raise(2) && replicated.load() == 3;
  replica.join();
  return log == "order 3" && late_news_is_ignored ? 0 : 1;
}
