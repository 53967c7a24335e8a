// SPDX-License-Identifier: BSL-1.0
#include <interlock/counter.hpp>
#include <interlock/striped_counter.hpp>

#include "support/yardsticks.hpp"

namespace {

struct counter_add {
  interlock::counter<> clicks;
  void operator()(unsigned) { clicks.add(1); }
};

struct striped_add {
  interlock::striped_counter clicks;
  void operator()(unsigned) { clicks.add(1); }
};

struct striped_load {
  interlock::striped_counter clicks;
  void operator()(unsigned) { benchmark::DoNotOptimize(clicks.load()); }
};

struct striped_load_exact {
  interlock::striped_counter clicks;
  void operator()(unsigned) { benchmark::DoNotOptimize(clicks.load_exact()); }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::atomic_fetch_add>("counter/std::atomic fetch_add");
  bench::add<yardstick::atomic_load>("counter/std::atomic load");
  bench::add<yardstick::mutex_section>("counter/std::mutex section");
  bench::add<counter_add>("counter/counter add");
  bench::add<striped_add>("counter/striped_counter add");
  bench::add<striped_load>("counter/striped_counter load");
  bench::add<striped_load_exact>("counter/striped_counter load_exact");
  return bench::run(argc, argv);
}
