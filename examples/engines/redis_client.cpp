// SPDX-License-Identifier: BSL-1.0
// Redis as an engine: what the server promises, and a count that a lost reply does not double.
// Prints: keeps after: power loss; 5 hits

#include <interlock/redis/client.hpp>
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
  const testing::throwaway_redis throwaway({.appendonly = testing::redis_appendonly::always});
  const std::string url = throwaway.url();

  redis::client server(url, {.prefix = "shop"});
  const auto hits = server.object_named(store::object_kind::counter, "hits");
  const auto id = store::operation_id::fresh();
  auto now = server.counter_add(hits, 5, {.id = id});
  now = server.counter_add(hits, 5, {.id = id});  // asked again: still 5

  std::printf("keeps after: %s; %d hits\n", store::to_string(server.probed().promised.keeps),
              static_cast<int>(now.value_or(0)));
  return now.value_or(0) == 5 ? 0 : 1;
}
