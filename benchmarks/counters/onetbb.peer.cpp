// SPDX-License-Identifier: BSL-1.0
// oneTBB counts in a value per thread. Its sums are only right while nobody counts.

#include <oneapi/tbb/combinable.h>
#include <oneapi/tbb/enumerable_thread_specific.h>

#include <functional>

#include "support/yardsticks.hpp"

namespace {

struct combinable_add {
  tbb::combinable<std::int64_t> clicks{[] { return std::int64_t{0}; }};
  void operator()(unsigned) { benchmark::DoNotOptimize(++clicks.local()); }
};

struct combinable_read {
  tbb::combinable<std::int64_t> clicks{[] { return std::int64_t{0}; }};
  combinable_read() { ++clicks.local(); }
  void operator()(unsigned) { benchmark::DoNotOptimize(clicks.combine(std::plus<>())); }
};

template <tbb::ets_key_usage_type Key>
struct thread_specific_add {
  tbb::enumerable_thread_specific<std::int64_t, tbb::cache_aligned_allocator<std::int64_t>, Key>
      clicks{0};
  void operator()(unsigned) { benchmark::DoNotOptimize(++clicks.local()); }
};

const bench::contenders here([] {
  bench::add<combinable_add>("counters/add one/oneTBB combinable");
  bench::add<thread_specific_add<tbb::ets_key_per_instance>>(
      "counters/add one/oneTBB enumerable_thread_specific, key per instance");
  bench::add<thread_specific_add<tbb::ets_no_key>>(
      "counters/add one/oneTBB enumerable_thread_specific");
  bench::add_alone<combinable_read>("counters/read about/oneTBB combinable, nobody counting");
});

}  // namespace
