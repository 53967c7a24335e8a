// SPDX-License-Identifier: BSL-1.0
// A lock of several machines on Redis, and a resource that refuses a former holder.
// Prints: 99 left, the former holder was refused

#include <interlock/redis/fenced.hpp>
#include <interlock/redis/mutex.hpp>
#include <interlock/redis/observed_mutex.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <cstdio>

namespace redis = interlock::redis;
namespace testing = interlock::testing;
using namespace std::chrono_literals;

int main() {
  if (!testing::throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 77;
  }
  const testing::throwaway_redis throwaway;
  redis::client server(throwaway.url());
  redis::mutex door(server, "door");
  redis::fenced<int> stock(server, "stock");

  auto former = door.lock({.lease = 50ms, .renew = false}).value();
  const auto seen = stock.open(former).value();

  redis::mutex other(server, "door");  // of another machine, which waits until the lease has ended
  auto guard = other.lock({.lease = 5s}).value();
  auto now = stock.open(guard).value();  // from here on earlier holders are refused
  const auto late = stock.write(seen, 0);
  stock.write(now, now.value.value_or(100) - 1).value();

  redis::observed_mutex gate(server, "gate");  // whatever is done to the server's clock
  gate.lock({.lease = 5s}).value().unlock().value();

  const int left = stock.open(guard).value().value.value_or(0);
  std::printf("%d left, the former holder was %s\n", left,
              late.conflicted() ? "refused" : "not refused");
  return left == 99 && late.conflicted() ? 0 : 1;
}
