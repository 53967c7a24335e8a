// SPDX-License-Identifier: BSL-1.0
// 1000 increments of a Redis through a proxy that drops one reply in 50: a client that takes no
// answer for no effect counts too few. Prints:
//   answered 976, counted 1000, replies lost 24

#include <interlock/testing/lossy_proxy.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdint>
#include <cstdio>
#include <string>

using interlock::testing::lossy_proxy;
using interlock::testing::throwaway_redis;

int main() {
  if (!throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 0;
  }
  throwaway_redis server;
  lossy_proxy proxy(server.where(), {.drop_reply = 0.02, .seed = 7});
  const std::string url = server.url(proxy.where());  // for a client's library

  std::uint64_t answered = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!server.command_through(proxy.where(), {"INCR", "hits"}).empty()) ++answered;
  }
  const std::string counted = server.command({"GET", "hits"});  // "$4\r\n1000\r\n"
  const auto lost = proxy.counts().replies_dropped;
  std::printf("answered %d, counted %s, replies lost %d\n", static_cast<int>(answered),
              counted.substr(4, 4).c_str(), static_cast<int>(lost));
  return answered + lost == 1000 && counted.substr(4, 4) == "1000" ? 0 : 1;
}
