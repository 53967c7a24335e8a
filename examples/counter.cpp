// SPDX-License-Identifier: BSL-1.0
// Fifty users click at once; the counter starts at 100. Prints "150 clicks".

#include <interlock/counter.hpp>

#include <iostream>
#include <thread>
#include <vector>

using interlock::counter;

namespace {

template <class F>
void on_threads(int n, F f) {
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) threads.emplace_back(f);
  for (std::thread& thread : threads) thread.join();
}

std::int64_t fifty_clicks() {
  counter clicks(100);
  on_threads(50, [&] { ++clicks; });
  return clicks.load();
}

}  // namespace

int main() {
  const std::int64_t clicks = fifty_clicks();
  std::cout << clicks << " clicks\n";
  return clicks == 150 ? 0 : 1;
}
