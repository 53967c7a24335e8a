// SPDX-License-Identifier: BSL-1.0
// worker_pool: a hundred tasks on two threads, awaited at the end.
// Prints: 100 done

#include <interlock/worker_pool.hpp>

#include <atomic>
#include <cstdio>

int main() {
  using interlock::worker_pool;

  worker_pool pool({.threads = 2});
  std::atomic<int> done{0};
  for (int i = 0; i < 100; ++i) pool.execute([&done] { ++done; });
  pool.drain();  // 100 done

  std::printf("%d done\n", done.load());
  return done == 100 ? 0 : 1;
}
