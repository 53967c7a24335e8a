// SPDX-License-Identifier: BSL-1.0
// Move money between two cells of a Redis server, as one step.
// Prints: 700 and 300

#include <interlock/redis/transaction.hpp>
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

  redis::versioned<int> from(server, "from");
  redis::versioned<int> to(server, "to");
  from.store(1000).value();
  const auto moved = redis::atomically(server, [&](redis::transaction& t) {
    t.prefetch(from, to);  // one request instead of two
    if (t.read(from).value_or(0) < 300) return false;
    t.update(from, [](int& money) { money -= 300; });
    t.update(to, [](int& money) { money += 300; });
    return true;
  });

  std::printf("%d and %d\n", *from.load()->value, *to.load()->value);
  return moved.value() && *to.load()->value == 300 ? 0 : 1;
}
