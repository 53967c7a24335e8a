// SPDX-License-Identifier: BSL-1.0
// interlock::async_shared_mutex: readers and writers, from coroutines and from threads.

#include <interlock/async_shared_mutex.hpp>

#include <shared_mutex>

#include "async/jobs.hpp"

namespace async {
namespace {

using interlock::async_shared_mutex;

struct reading {
  async_shared_mutex mutex;
  auto enter() noexcept { return mutex.lock_shared(); }
};
struct writing {
  async_shared_mutex mutex;
  auto enter() noexcept { return mutex.lock(); }
};

struct blocking_read {
  async_shared_mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const auto held = mutex.lock_shared_blocking();
    benchmark::DoNotOptimize(value);
  }
};
struct blocking_write {
  async_shared_mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const auto held = mutex.lock_blocking();
    benchmark::DoNotOptimize(++value);
  }
};

struct std_read {
  std::shared_mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const std::shared_lock held(mutex);
    benchmark::DoNotOptimize(value);
  }
};
struct std_write {
  std::shared_mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const std::lock_guard held(mutex);
    benchmark::DoNotOptimize(++value);
  }
};

// One visit in ten writes.
task<> read_and_write(async_shared_mutex& mutex, std::int64_t& value) {
  for (int i = 0; i < visits; ++i) {
    if (i % 10 == 0) {
      const auto held = co_await mutex.lock();
      const std::int64_t seen = value;
      co_await interlock::reschedule();
      value = seen + 1;
    } else {
      const auto held = co_await mutex.lock_shared();
      benchmark::DoNotOptimize(value);
      co_await interlock::reschedule();
    }
  }
}

const bench::contenders here([] {
  const std::string who = "interlock::async_shared_mutex";
  const std::string read = "async/a shared section ";
  const std::string write = "async/an exclusive section of a shared mutex ";
  add_repeated(read + "in a coroutine/" + who, sections<reading>);
  add_repeated(read + "in a coroutine/std::shared_mutex", blocking_sections<std_read>);
  add_repeated(write + "in a coroutine/" + who, sections<writing>);
  add_repeated(write + "in a coroutine/std::shared_mutex", blocking_sections<std_write>);
  bench::add<blocking_read>(read + "in a thread/" + who);
  bench::add<std_read>(read + "in a thread/std::shared_mutex");
  bench::add<blocking_write>(write + "in a thread/" + who);
  bench::add<std_write>(write + "in a thread/std::shared_mutex");
  bench::add_timed("async/50 coroutines, one in ten writes, held across a yield/" + who + "/alone",
                   [](benchmark::State&) {
                     async_shared_mutex mutex;
                     std::int64_t value = 0;
                     return crowd_on_one_thread([&] { return read_and_write(mutex, value); });
                   });
});

}  // namespace
}  // namespace async
