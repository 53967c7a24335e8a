// SPDX-License-Identifier: BSL-1.0
// Many operations in one write, each with an outcome of its own.
// Prints: 1 hit, 2 misses, seen

#include <interlock/redis/batch.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdio>
#include <string>

namespace redis = interlock::redis;
namespace testing = interlock::testing;

int main() {
  if (!testing::throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 77;
  }
  const testing::throwaway_redis throwaway;
  redis::client server(throwaway.url());
  redis::counter hits(server, "hits");
  redis::counter misses(server, "misses");
  redis::versioned<std::string> cell(server, "last");

  redis::batch many(server);
  const auto first = many.add(hits, 1);
  const auto second = many.add(misses, 2);
  const auto value = many.store(cell, "seen");
  many.run();
  const auto now = many[first].value();

  std::printf("%d hit, %d misses, %s\n", static_cast<int>(now),
              static_cast<int>(many[second].value()), cell.load()->value->c_str());
  return now == 1 && many[value].applied() ? 0 : 1;
}
