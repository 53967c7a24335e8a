// SPDX-License-Identifier: BSL-1.0
// Count from many threads; those that come together cost one request.
// Prints: 800 hits

#include <interlock/memory/counter.hpp>
#include <interlock/store/combining_counter.hpp>

#include <cstdio>
#include <thread>
#include <vector>

namespace memory = interlock::memory;
namespace store = interlock::store;

int main() {
  memory::client engine;
  store::combining_counter hits(memory::counter(engine, "hits"));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        hits.add(1).value();
      }
    });
  }
  for (std::thread& each : threads) each.join();
  std::printf("%d hits\n", static_cast<int>(*hits.load()));
  return *hits.load() == 800 && engine.requests() <= 802 ? 0 : 1;
}
