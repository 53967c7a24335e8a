// SPDX-License-Identifier: BSL-1.0
#include <interlock/bounded_counter.hpp>

#include <limits>

#include "support/yardsticks.hpp"

namespace {

constexpr std::int64_t plenty = std::numeric_limits<std::int64_t>::max();

struct granted {
  interlock::bounded_counter stock{plenty, 0, plenty};
  void operator()(unsigned) { benchmark::DoNotOptimize(stock.try_sub(1)); }
};

struct refused {
  interlock::bounded_counter stock{0, 0, plenty};
  void operator()(unsigned) { benchmark::DoNotOptimize(stock.try_sub(1)); }
};

struct mutex_check_then_subtract {
  std::mutex mutex;
  std::int64_t stock = plenty;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    const bool enough = stock >= 1;
    if (enough) --stock;
    benchmark::DoNotOptimize(enough);
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::atomic_cas>("bounded_counter/std::atomic CAS loop");
  bench::add<yardstick::atomic_load>("bounded_counter/std::atomic load");
  bench::add<mutex_check_then_subtract>("bounded_counter/std::mutex section");
  bench::add<granted>("bounded_counter/try_sub granted");
  bench::add<refused>("bounded_counter/try_sub refused");
  return bench::run(argc, argv);
}
