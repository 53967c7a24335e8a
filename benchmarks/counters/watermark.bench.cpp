// SPDX-License-Identifier: BSL-1.0
// Offering a height that is too low (the usual case), or one that is higher each time.

#include <interlock/watermark.hpp>

#include "support/yardsticks.hpp"

namespace {

struct stale_raise {
  interlock::watermark<std::int64_t> mark{1'000};
  void operator()(unsigned) { benchmark::DoNotOptimize(mark.raise(1)); }
};

struct newer_raise {
  interlock::watermark<std::int64_t> mark{0};
  struct alignas(128) own {
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

const bench::contenders here([] {
  bench::add<yardstick::atomic_load>("counters/raise, stale/std::atomic load");
  bench::add<mutex_max>("counters/raise, stale/std::mutex section");
  bench::add<stale_raise>("counters/raise, stale/interlock::watermark");
  bench::add<yardstick::atomic_cas>("counters/raise, newer/std::atomic CAS loop");
  bench::add<newer_raise>("counters/raise, newer/interlock::watermark");
});

}  // namespace
