// SPDX-License-Identifier: BSL-1.0
// Reading what was counted, while others go on counting.

#include <interlock/striped_counter.hpp>

#include "support/yardsticks.hpp"

namespace {

struct spread_counter {
  interlock::striped_counter clicks;
  spread_counter() { clicks.spread(); }
  void write(unsigned) { clicks.add(1); }
};

struct load : spread_counter {
  void operator()(unsigned) { benchmark::DoNotOptimize(clicks.load()); }
};

struct load_exact : spread_counter {
  void operator()(unsigned) { benchmark::DoNotOptimize(clicks.load_exact()); }
};

struct drain : spread_counter {
  void operator()(unsigned) { benchmark::DoNotOptimize(clicks.exchange(0)); }
};

struct atomic_drain : yardstick::atomic_load {
  void operator()(unsigned) {
    benchmark::DoNotOptimize(word.exchange(0, std::memory_order_acq_rel));
  }
};

template <class Contender>
void add(const std::string& name) {
  bench::add_alone<Contender>(name);
  bench::add_beside_writer<Contender>(name);
}

const bench::contenders here([] {
  add<yardstick::atomic_load>("counters/read about/std::atomic load");
  add<load>("counters/read about/interlock::striped_counter load");
  add<yardstick::atomic_load>("counters/read exactly/std::atomic load");
  add<load_exact>("counters/read exactly/interlock::striped_counter load_exact");
  bench::add_among_writers<load_exact>(
      "counters/read exactly/interlock::striped_counter load_exact");
  add<atomic_drain>("counters/drain/std::atomic exchange");
  add<drain>("counters/drain/interlock::striped_counter exchange");
});

}  // namespace
