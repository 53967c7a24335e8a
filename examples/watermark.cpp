// SPDX-License-Identifier: BSL-1.0
// A reader waits until the replica has applied position 3, and then sees what was applied; so does a
// request, which is a coroutine.
// Prints "order 3 is replicated".

#include <interlock/task.hpp>
#include <interlock/watermark.hpp>

#include <cstdint>
#include <iostream>
#include <string>
#include <thread>

using interlock::sync_wait;
using interlock::task;
using interlock::watermark;

task<std::string> read_at(const watermark<std::uint64_t>& replicated, std::uint64_t position,
                          const std::string& log) {
  co_await replicated.async_wait_for_at_least(position);
  co_return log;
}

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
  const std::string seen = sync_wait(read_at(replicated, 3, log));
  replica.join();
  return seen == "order 3" && late_news_is_ignored ? 0 : 1;
}
