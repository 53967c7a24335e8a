// SPDX-License-Identifier: BSL-1.0
// interlock::async_manual_reset_event and async_auto_reset_event.

#include <interlock/async_event.hpp>

#include <latch>
#include <semaphore>

#include "async/jobs.hpp"

namespace async {
namespace {

using interlock::async_auto_reset_event;
using interlock::async_manual_reset_event;

task<> wait_for_what_has_been(benchmark::State& state) {
  async_manual_reset_event event;
  event.set();
  for (auto _ : state) {
    const interlock::wait_status how = co_await event.wait();
    benchmark::DoNotOptimize(how);
  }
}

struct passed_latch {
  std::latch event{0};
  void operator()(unsigned) {
    event.wait();
    benchmark::ClobberMemory();
  }
};

task<> set_and_wait(benchmark::State& state) {
  async_auto_reset_event event;
  for (auto _ : state) {
    event.set();
    const interlock::wait_status how = co_await event.wait();
    benchmark::DoNotOptimize(how);
  }
}

struct release_and_acquire {
  std::binary_semaphore event{0};
  void operator()(unsigned) {
    event.release();
    event.acquire();
  }
};

struct two_bells {
  async_auto_reset_event mine;
  async_auto_reset_event yours;
};

task<> ring_and_wait(two_bells& bells, bool first) {
  async_auto_reset_event& mine = first ? bells.mine : bells.yours;
  async_auto_reset_event& yours = first ? bells.yours : bells.mine;
  for (int i = 0; i < turns_each; ++i) {
    if (first) yours.set();
    const interlock::wait_status how = co_await mine.wait();
    benchmark::DoNotOptimize(how);
    if (!first) yours.set();
  }
}

double by_turns(benchmark::State&) {
  return two_coroutines_by_turns<two_bells>(
      [](two_bells& bells, bool first) { return ring_and_wait(bells, first); });
}

const bench::contenders here([] {
  add_repeated(has_been + "interlock::async_manual_reset_event", wait_for_what_has_been);
  add_repeated(has_been + "std::latch", blocking_sections<passed_latch>);
  add_repeated(set_then_wait + "interlock::async_auto_reset_event", set_and_wait);
  add_repeated(set_then_wait + "std::binary_semaphore", blocking_sections<release_and_acquire>);
  bench::add_timed(two_by_turns + "interlock::async_auto_reset_event/alone", by_turns);
});

}  // namespace
}  // namespace async
