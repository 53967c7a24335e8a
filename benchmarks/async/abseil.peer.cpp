// SPDX-License-Identifier: BSL-1.0

#include <absl/synchronization/mutex.h>

#include "async/jobs.hpp"

namespace async {
namespace {

struct section {
  absl::Mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const absl::MutexLock held(&mutex);
    benchmark::DoNotOptimize(++value);
  }
};

struct pair {
  absl::Mutex mutex;
  void operator()(unsigned) { const absl::MutexLock held(&mutex); }
};

struct shared_value {
  absl::Mutex mutex;
  std::int64_t value = 0;
};

loop::visitor short_sections(loop&, shared_value& shared) {
  for (int i = 0; i < rounds; ++i) {
    {
      const absl::MutexLock held(&shared.mutex);
      benchmark::DoNotOptimize(++shared.value);
    }
    co_await yield();
  }
}

void enter_as_thread(shared_value& shared) {
  const absl::MutexLock held(&shared.mutex);
  benchmark::DoNotOptimize(++shared.value);
}

const bench::contenders here([] {
  const std::string who = "Abseil Mutex";
  add_repeated(in_a_coroutine + who, blocking_sections<section>);
  bench::add<section>(in_a_thread + who);
  bench::add_alone<pair>(only_a_pair + who);
  add_loops<shared_value>(loops_short + who, short_sections);
  add_mixed<shared_value>(mixed_short + who, short_sections, enter_as_thread);
});

}  // namespace
}  // namespace async
