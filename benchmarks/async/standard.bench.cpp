// SPDX-License-Identifier: BSL-1.0
// The standard library's locks, and a futex, where a coroutine or a thread holds them for a moment.

#include <interlock/detail/futex_mutex.hpp>

#include <shared_mutex>

#include "async/jobs.hpp"

namespace async {
namespace {

template <class Mutex>
struct section {
  Mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const std::lock_guard held(mutex);
    benchmark::DoNotOptimize(++value);
  }
};

template <class Mutex>
struct pair {
  Mutex mutex;
  void operator()(unsigned) { const std::lock_guard held(mutex); }
};

template <class Mutex>
struct shared_value {
  Mutex mutex;
  std::int64_t value = 0;
};

template <class Mutex>
loop::visitor short_sections(loop&, shared_value<Mutex>& shared) {
  for (int i = 0; i < rounds; ++i) {
    {
      const std::lock_guard held(shared.mutex);
      benchmark::DoNotOptimize(++shared.value);
    }
    co_await yield();
  }
}

template <class Mutex>
void enter_as_thread(shared_value<Mutex>& shared) {
  const std::lock_guard held(shared.mutex);
  benchmark::DoNotOptimize(++shared.value);
}

struct nothing_shared {};

loop::visitor only_yields(loop&, nothing_shared&) {
  for (int i = 0; i < rounds; ++i) co_await yield();
}

template <class Mutex>
void add(const std::string& who) {
  add_repeated(in_a_coroutine + who, blocking_sections<section<Mutex>>);
  bench::add<section<Mutex>>(in_a_thread + who);
  bench::add_alone<pair<Mutex>>(only_a_pair + who);
  add_loops<shared_value<Mutex>>(loops_short + who, short_sections<Mutex>);
  add_mixed<shared_value<Mutex>>(mixed_short + who, short_sections<Mutex>, enter_as_thread<Mutex>);
}

const bench::contenders here([] {
  add<std::mutex>("std::mutex");
  add<interlock::detail::futex_mutex>("futex of 3 states, inlined");
  bench::add<section<std::shared_mutex>>(in_a_thread + "std::shared_mutex");
  add_loops<nothing_shared>(a_yield + "the loop of these benchmarks", only_yields);
});

}  // namespace
}  // namespace async
