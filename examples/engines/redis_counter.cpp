// SPDX-License-Identifier: BSL-1.0
// Counters that all machines share, on Redis.
// Prints: 1 hit, 1 left, only 1 left

#include <interlock/redis/bounded_counter.hpp>
#include <interlock/redis/counter.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdio>
#include <string>

namespace redis = interlock::redis;
namespace store = interlock::store;
namespace testing = interlock::testing;

int main() {
  if (!testing::throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 77;
  }
  const testing::throwaway_redis throwaway;
  const std::string url = throwaway.url();

  redis::client server(url);
  redis::counter hits(server, "hits");
  const auto id = store::operation_id::fresh();
  auto now = hits.add(1, {.id = id});
  if (now.unknown()) now = hits.add(1, {.id = id});  // counted once in any case

  redis::bounded_counter stock(server, "stock", {.value = 3, .low = 0, .high = 100});
  const auto left = stock.try_sub(2);
  const auto more = stock.try_sub(2);

  std::printf("%d hit, %d left, only %d left\n", static_cast<int>(now.value()),
              static_cast<int>(left.value()), static_cast<int>(more.conflict().value));
  return now.value() == 1 && left.value() == 1 && more.conflicted() ? 0 : 1;
}
