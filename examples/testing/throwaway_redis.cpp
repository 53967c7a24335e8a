// SPDX-License-Identifier: BSL-1.0
// A Redis that writes each change to its disk before it answers, killed and started again.
// Prints, with a path that varies:
//   unix:///tmp/interlock-5a3SvC/redis.sock
//   after the crash: 1

#include <interlock/testing/throwaway_redis.hpp>

#include <cstdio>

using interlock::testing::redis_appendonly;
using interlock::testing::throwaway_redis;

int main() {
  if (!throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 0;
  }
  throwaway_redis server({.appendonly = redis_appendonly::always});
  std::printf("%s\n", server.url().c_str());
  server.command({"SET", "paid", "1"});
  server.crash();
  server.restart();
  const std::string paid = server.command({"GET", "paid"});
  std::printf("after the crash: %s\n", paid == "$1\r\n1\r\n" ? "1" : "nothing");
  return paid == "$1\r\n1\r\n" ? 0 : 1;
}
