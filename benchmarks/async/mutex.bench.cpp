// SPDX-License-Identifier: BSL-1.0
// interlock::async_mutex from coroutines and from threads.

#include <interlock/async_mutex.hpp>

#include "async/jobs.hpp"

namespace async {
namespace {

using interlock::async_mutex;

struct plain {
  async_mutex mutex;
  auto enter() noexcept { return mutex.lock(); }
};

struct try_lock_pair {
  async_mutex mutex;
  void operator()(unsigned) {
    const auto held = mutex.try_lock();
    benchmark::DoNotOptimize(held.owns_lock());
  }
};

struct lock_blocking_pair {
  async_mutex mutex;
  void operator()(unsigned) { const auto held = mutex.lock_blocking(); }
};

struct lock_blocking_section {
  async_mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const auto held = mutex.lock_blocking();
    benchmark::DoNotOptimize(++value);
  }
};

task<> pass_by() {
  for (int i = 0; i < visits; ++i) co_await interlock::reschedule();
}

struct shared_value {
  async_mutex mutex;
  std::int64_t value = 0;
};

// Whoever unlocks goes on with the next coroutine, on its own thread: so all gather on one.
loop::visitor short_sections(loop&, shared_value& shared) {
  for (int i = 0; i < rounds; ++i) {
    {
      const auto held = co_await shared.mutex.lock();
      benchmark::DoNotOptimize(++shared.value);
    }
    co_await yield();
  }
}

loop::visitor sections_across_a_yield(loop&, shared_value& shared) {
  for (int i = 0; i < rounds; ++i) {
    const auto held = co_await shared.mutex.lock();
    const std::int64_t seen = shared.value;
    co_await yield();
    shared.value = seen + 1;
  }
}

const bench::contenders here([] {
  const std::string who = "interlock::async_mutex";
  add_repeated(in_a_coroutine + who, sections<plain>);
  bench::add<lock_blocking_section>(in_a_thread + who + " lock_blocking");
  bench::add_alone<try_lock_pair>(only_a_pair + who + " try_lock");
  bench::add_alone<lock_blocking_pair>(only_a_pair + who + " lock_blocking");
  add_held_across_a_yield<plain>(who);
  bench::add_timed(a_yield + "interlock::reschedule/alone",
                   [](benchmark::State&) { return crowd_on_one_thread(pass_by); });
  add_loops<shared_value>(loops_short + who, short_sections);
  add_loops<shared_value>(loops_held + who, sections_across_a_yield);
});

}  // namespace
}  // namespace async
