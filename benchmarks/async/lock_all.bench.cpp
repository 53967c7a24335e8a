// SPDX-License-Identifier: BSL-1.0
// interlock::lock_all of two mutexes beside std::scoped_lock of two.

#include <interlock/lock_all.hpp>

#include "async/jobs.hpp"

namespace async {
namespace {

using interlock::async_mutex;

struct both {
  async_mutex one;
  async_mutex two;
  auto enter() { return interlock::lock_all(one, two); }
};

// By hand: right only if everybody takes them in this order.
task<> one_by_one(benchmark::State& state) {
  const auto own = std::make_unique<bench::apart<both>>();
  both& door = own->contender;
  std::int64_t value = 0;
  for (auto _ : state) {
    const auto first = co_await door.one.lock();
    const auto second = co_await door.two.lock();
    benchmark::DoNotOptimize(++value);
  }
}

struct blocking_section {
  async_mutex one;
  async_mutex two;
  std::int64_t value = 0;
  void operator()(unsigned lane) {
    const auto held =
        lane == 0 ? interlock::lock_all_blocking(one, two) : interlock::lock_all_blocking(two, one);
    benchmark::DoNotOptimize(++value);
  }
};

struct scoped_section {
  std::mutex one;
  std::mutex two;
  std::int64_t value = 0;
  void operator()(unsigned lane) {
    const std::scoped_lock held(lane == 0 ? one : two, lane == 0 ? two : one);
    benchmark::DoNotOptimize(++value);
  }
};

const bench::contenders here([] {
  const std::string in_coroutine = "async/a section under two mutexes in a coroutine/";
  const std::string in_thread = "async/a section under two mutexes in a thread/";
  add_repeated(in_coroutine + "interlock::lock_all", sections<both>);
  add_repeated(in_coroutine + "interlock::async_mutex twice", one_by_one);
  add_repeated(in_coroutine + "std::scoped_lock", blocking_sections<scoped_section>);
  bench::add<blocking_section>(in_thread + "interlock::lock_all_blocking");
  bench::add<scoped_section>(in_thread + "std::scoped_lock");
  bench::add_timed(
      "async/50 coroutines, two mutexes, held across a yield/interlock::lock_all/alone",
      [](benchmark::State&) {
        both doors;
        std::int64_t value = 0;
        return crowd_on_one_thread([&] { return visit(doors, value); });
      });
});

}  // namespace
}  // namespace async
