// SPDX-License-Identifier: BSL-1.0
// Taking one from a stock that must not go below zero.

#include <interlock/bounded_counter.hpp>
#include <interlock/striped_bounded_counter.hpp>

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

// One word until threads collide.
struct striped_granted {
  interlock::striped_bounded_counter stock{plenty, 0, plenty};
  void operator()(unsigned) { benchmark::DoNotOptimize(stock.try_sub(1)); }
};

struct spread_granted : striped_granted {
  spread_granted() { stock.spread(); }
};

struct striped_refused {
  interlock::striped_bounded_counter stock{0, 0, plenty};
  void operator()(unsigned) { benchmark::DoNotOptimize(stock.try_sub(1)); }
};

bool take_one(std::atomic<std::int64_t>& stock) {
  std::int64_t seen = stock.load(std::memory_order_relaxed);
  while (seen >= 1) {
    if (stock.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                    std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

struct cas_loop {
  std::atomic<std::int64_t> stock{plenty};
  void operator()(unsigned) { benchmark::DoNotOptimize(take_one(stock)); }
};

struct own_line_cas_loop {
  struct alignas(128) slot {
    std::atomic<std::int64_t> stock{plenty};
  };
  std::array<slot, 64> slots{};
  void operator()(unsigned lane) { benchmark::DoNotOptimize(take_one(slots[lane % 64].stock)); }
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

const bench::contenders here([] {
  bench::add<cas_loop>("counters/take one/std::atomic CAS loop");
  bench::add<own_line_cas_loop>("counters/take one/std::atomic CAS loop, own lines");
  bench::add<mutex_check_then_subtract>("counters/take one/std::mutex section");
  bench::add<granted>("counters/take one/interlock::bounded_counter");
  bench::add<striped_granted>("counters/take one/interlock::striped_bounded_counter");
  bench::add<spread_granted>("counters/take one/interlock::striped_bounded_counter, spread");
  bench::add<yardstick::atomic_load>("counters/take one, refused/std::atomic load");
  bench::add<refused>("counters/take one, refused/interlock::bounded_counter");
  bench::add<striped_refused>("counters/take one, refused/interlock::striped_bounded_counter");
});

}  // namespace
