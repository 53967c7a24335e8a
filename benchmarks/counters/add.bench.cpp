// SPDX-License-Identifier: BSL-1.0
// Adding one to a number that other threads add to as well.

#include <interlock/counter.hpp>
#include <interlock/striped_counter.hpp>

#include "support/yardsticks.hpp"

namespace {

struct counter_add {
  interlock::counter<> clicks;
  void operator()(unsigned) { clicks.add(1); }
};

// One word until threads collide.
struct striped_add {
  interlock::striped_counter clicks;
  void operator()(unsigned) { clicks.add(1); }
};

struct spread_add {
  interlock::striped_counter clicks;
  spread_add() { clicks.spread(); }
  void operator()(unsigned) { clicks.add(1); }
};

const bench::contenders here([] {
  bench::add<yardstick::atomic_fetch_add>("counters/add one/std::atomic fetch_add");
  bench::add<yardstick::own_line_fetch_add>("counters/add one/std::atomic fetch_add, own lines");
  bench::add<yardstick::mutex_section>("counters/add one/std::mutex section");
  bench::add<counter_add>("counters/add one/interlock::counter");
  bench::add<striped_add>("counters/add one/interlock::striped_counter");
  bench::add<spread_add>("counters/add one/interlock::striped_counter, spread");
});

}  // namespace
