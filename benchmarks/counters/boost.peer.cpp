// SPDX-License-Identifier: BSL-1.0

#include <boost/atomic.hpp>
#include <boost/thread/synchronized_value.hpp>

#include "support/yardsticks.hpp"

namespace {

struct atomic_add {
  boost::atomic<std::int64_t> word{0};
  void operator()(unsigned) { word.fetch_add(1, boost::memory_order_relaxed); }
};

struct synchronized_add {
  boost::synchronized_value<std::int64_t, std::mutex> value{0};
  void operator()(unsigned) { benchmark::DoNotOptimize(++*value.synchronize()); }
};

struct synchronized_take {
  boost::synchronized_value<std::int64_t, std::mutex> stock{std::int64_t{1} << 62};
  void operator()(unsigned) {
    auto held = stock.synchronize();
    const bool enough = *held >= 1;
    if (enough) --*held;
    benchmark::DoNotOptimize(enough);
  }
};

const bench::contenders here([] {
  bench::add<atomic_add>("counters/add one/Boost atomic fetch_add");
  bench::add<synchronized_add>("counters/add one/Boost synchronized_value");
  bench::add<synchronized_take>("counters/take one/Boost synchronized_value");
});

}  // namespace
