// SPDX-License-Identifier: BSL-1.0
// Keeps the machine busy until its standard input ends, so also when whoever started it dies.
//   background_load THREADS     half of them compute, half write through 8 MiB of memory

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> stop{false};
std::atomic<std::uint64_t> sink{0};  // keeps the work from being optimized away

void compute() {
  std::uint64_t x = 88172645463325252U;
  while (!stop.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 1000; ++i) {
      x ^= x << 13U;
      x ^= x >> 7U;
      x ^= x << 17U;
    }
    sink.store(x, std::memory_order_relaxed);
  }
}

void write_through_memory() {
  std::vector<std::uint64_t> memory((std::size_t{8} << 20U) / sizeof(std::uint64_t));
  while (!stop.load(std::memory_order_relaxed)) {
    for (std::size_t i = 0; i < memory.size(); i += 8) ++memory[i];
    sink.store(memory[0], std::memory_order_relaxed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (threads < 1) {
    std::fputs("background_load: how many threads? (1 or more)\n", stderr);
    return 2;
  }
  std::vector<std::thread> busy;
  for (int i = 0; i < threads; ++i) busy.emplace_back(i % 2 == 0 ? compute : write_through_memory);
  while (std::getchar() != EOF) {
  }
  stop.store(true);
  for (std::thread& thread : busy) thread.join();
  return 0;
}
