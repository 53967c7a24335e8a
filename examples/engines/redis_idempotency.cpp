// SPDX-License-Identifier: BSL-1.0
// The same payment sent twice, to two machines that share a Redis server.
// Prints: executed, then replayed; paid 1 time

#include <interlock/redis/idempotency_store.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdio>
#include <string>

namespace redis = interlock::redis;
namespace testing = interlock::testing;
using interlock::idempotency_outcome;

namespace {

int paid_times = 0;

idempotency_outcome serve(const std::string& url, const std::string& key, const std::string& body) {
  redis::client server(url);
  const auto pay = [&] {
    ++paid_times;
    return static_cast<int>(body.size());
  };
  redis::idempotency_store<int> payments(server, "payments");
  const auto paid = payments.run(key, interlock::fingerprint_of(body), pay);
  return paid.conflicted() ? paid.conflict().why : paid.value().how;
}

}  // namespace

int main() {
  if (!testing::throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 77;
  }
  const testing::throwaway_redis throwaway;
  const auto first = serve(throwaway.url(), "k1", "100 EUR");
  const auto second = serve(throwaway.url(), "k1", "100 EUR");
  std::printf("%s, then %s; paid %d time\n", to_string(first), to_string(second), paid_times);
  return first == idempotency_outcome::executed && second == idempotency_outcome::replayed &&
                 paid_times == 1
             ? 0
             : 1;
}
