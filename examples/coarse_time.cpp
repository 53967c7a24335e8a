// SPDX-License-Identifier: BSL-1.0
// A cache that reads no clock on a hit: the loop tells it the time.

#include <interlock/coarse_time.hpp>
#include <interlock/idempotency_cache.hpp>

#include <chrono>
#include <cstdio>

using interlock::coarse_time;
using interlock::fingerprint;
using interlock::idempotency_cache;
using interlock::idempotency_outcome;

int main() {
  coarse_time time;
  idempotency_cache<int, int> answers({.time = &time});
  int runs = 0;
  for (int turn = 0; turn < 3; ++turn) {
    time.advance_to(coarse_time::clock());
    answers.run(7, fingerprint{1}, [&] { return ++runs; });
  }
  time.advance_to(time.now() + std::chrono::hours(25));  // the ttl is a day
  const auto late = answers.run(7, fingerprint{1}, [&] { return ++runs; });
  std::printf("runs: %d\n", runs);
  return runs == 2 && late.outcome == idempotency_outcome::executed ? 0 : 1;
}
