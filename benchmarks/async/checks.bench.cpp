// SPDX-License-Identifier: BSL-1.0
// Figures that are no times of one operation: allocations, sizes, fairness, and what happens with
// very many waiters.

#include <interlock/async_condition.hpp>
#include <interlock/async_event.hpp>
#include <interlock/async_semaphore.hpp>
#include <interlock/async_shared_mutex.hpp>

#include <algorithm>

#include "async/doors.hpp"
#include "async/jobs.hpp"
#include "tests/support/detached.hpp"
#include "tests/support/small_stack.hpp"

namespace async {
namespace {

using interlock::async_mutex;

// Fifty coroutines lock until there have been 100 000 turns; each holds the lock across a yield.
struct turns {
  double fewest;
  double most;
};

task<> take_turns(async_mutex& mutex, int& left, int& mine) {
  while (left > 0) {
    const auto held = co_await mutex.lock();
    if (left <= 0) break;
    --left;
    ++mine;
    co_await interlock::reschedule();
  }
}

turns count_turns() {
  async_mutex mutex;
  int left = visitors * 2000;
  std::vector<int> each(visitors, 0);
  std::vector<task<>> all;
  for (int& mine : each) all.push_back(take_turns(mutex, left, mine));
  interlock::sync_wait(interlock::when_all(std::move(all)));
  const auto [low, high] = std::minmax_element(each.begin(), each.end());
  return {static_cast<double>(*low), static_cast<double>(*high)};
}

turns fairness() {
  static const turns counted = count_turns();
  return counted;
}

support::detached wait_once(async_mutex& mutex, int& served) {
  const auto held = co_await mutex.lock();
  ++served;
}

// Returns: CPU time of one unlock() that lets them all in, one after the other, for each of them;
//          on a stack of 256 KB.
double cascade() {
  const int many = bench::quick ? 20'000 : 1'000'000;
  double ns = 0;
  const bool started = support::on_small_stack([&] {
    async_mutex mutex;
    auto held = mutex.try_lock();
    int served = 0;
    for (int i = 0; i < many; ++i) wait_once(mutex, served);
    const double start = bench::thread_cpu_ns();
    held.unlock();
    ns = (bench::thread_cpu_ns() - start) / served;
  });
  return started ? ns : -1;
}

// The awaiter is part of the frame of each coroutine that waits.
template <class Door>
double size_of_awaiter() {
  return sizeof(decltype(std::declval<Door&>().enter()));
}

template <class Type>
void add_size(const std::string& name) {
  bench::add_figure("async/size/interlock::" + name, "bytes", [] { return double{sizeof(Type)}; });
}

void add_sizes(const std::string& who) {
  const std::string size = "async/size/" + who;
  add_size<async_mutex>("async_mutex");
  bench::add_figure(size + ", its awaiter", "bytes", size_of_awaiter<plain>);
  bench::add_figure(size + ", its awaiter" + by_std_token, "bytes", size_of_awaiter<std_stoppable>);
  bench::add_figure(size + ", its awaiter" + by_inplace_token, "bytes",
                    size_of_awaiter<inplace_stoppable>);
  bench::add_figure(size + ", its awaiter" + by_deadline, "bytes", size_of_awaiter<with_deadline>);
  add_size<interlock::async_shared_mutex>("async_shared_mutex");
  add_size<interlock::async_semaphore>("async_semaphore");
  add_size<interlock::async_manual_reset_event>("async_manual_reset_event");
  add_size<interlock::async_condition>("async_condition");
}

const bench::contenders here([] {
  const std::string who = "interlock::async_mutex";
  add_sizes(who);
  const std::string fair = "async/turns of 50 coroutines, 2000 for each/" + who + ", ";
  bench::add_figure(fair + "fewest", "turns", [] { return fairness().fewest; });
  bench::add_figure(fair + "most", "turns", [] { return fairness().most; });
  bench::add_timed("async/one unlock that lets in 1 000 000 waiters, each/" + who + "/alone",
                   [](benchmark::State&) { return cascade(); });
});

}  // namespace
}  // namespace async
