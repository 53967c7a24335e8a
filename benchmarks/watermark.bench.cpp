// SPDX-License-Identifier: BSL-1.0
#include <interlock/watermark.hpp>

#include <array>

#include "support/yardsticks.hpp"

namespace {

struct stale_raise {
  interlock::watermark<std::int64_t> mark{1'000};
  void operator()(unsigned) { benchmark::DoNotOptimize(mark.raise(1)); }
};

struct newer_raise {
  interlock::watermark<std::int64_t> mark{0};
  struct alignas(64) own {
    std::int64_t next = 0;
  };
  std::array<own, 64> lanes{};
  void operator()(unsigned lane) { benchmark::DoNotOptimize(mark.raise(++lanes[lane % 64].next)); }
};

struct mutex_max {
  std::mutex mutex;
  std::int64_t mark = 1'000;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    if (mark < 1) mark = 1;
    benchmark::DoNotOptimize(mark);
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::atomic_load>("watermark/std::atomic load");
  bench::add<yardstick::atomic_cas>("watermark/std::atomic CAS loop");
  bench::add<mutex_max>("watermark/std::mutex section");
  bench::add<stale_raise>("watermark/raise stale");
  bench::add<newer_raise>("watermark/raise newer");
  return bench::run(argc, argv);
}
