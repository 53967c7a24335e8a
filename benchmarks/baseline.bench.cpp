// SPDX-License-Identifier: BSL-1.0
// What the hardware and the standard library cost here: the yardsticks, without any type of ours.

#include <mutex>

#include "support/bench.hpp"

namespace {

struct fetch_add {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { word.fetch_add(1, std::memory_order_relaxed); }
};

struct load {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) { benchmark::DoNotOptimize(word.load(std::memory_order_acquire)); }
};

struct compare_exchange {
  std::atomic<std::int64_t> word{0};
  void operator()(unsigned) {
    std::int64_t seen = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
    }
  }
};

struct mutex_section {
  std::mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    ++value;
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<load>("baseline/load");
  bench::add<fetch_add>("baseline/fetch_add");
  bench::add<compare_exchange>("baseline/compare_exchange loop");
  bench::add<mutex_section>("baseline/std::mutex section");
  return bench::run(argc, argv);
}
