// SPDX-License-Identifier: BSL-1.0
// One of 10 000 coroutines that wait for a mutex is told to stop: to the end of request_stop(),
// which takes it off the line, resumes it and frees its frame.

#include <algorithm>
#include <deque>
#include <random>

#include "async/doors.hpp"
#include "async/jobs.hpp"
#include "tests/support/detached.hpp"

namespace async {
namespace {

using interlock::async_mutex;

constexpr int waiting = 10'000;

template <class Token>
support::detached wait_until_told(async_mutex& mutex, Token stop, int& cancelled) {
  const auto held = co_await mutex.lock(stop);
  if (held.status() == interlock::wait_status::cancelled) ++cancelled;
}

support::detached wait_once(async_mutex& mutex) {
  const auto held = co_await mutex.lock();
}

// Returns: CPU time for each, all of them in no order.
template <class Source>
double all_of_them() {
  async_mutex mutex;
  auto held = mutex.try_lock();
  std::deque<Source> sources(waiting);
  int cancelled = 0;
  for (Source& each : sources) wait_until_told(mutex, each.get_token(), cancelled);
  std::vector<Source*> order;
  for (Source& each : sources) order.push_back(&each);
  std::shuffle(order.begin(), order.end(), std::minstd_rand(1));
  const double start = bench::thread_cpu_ns();
  for (Source* const each : order) each->request_stop();
  const double ns = (bench::thread_cpu_ns() - start) / waiting;
  if (cancelled != waiting) std::abort();
  return ns;
}

// Returns: the time of one call, where `before` plain waiters stand before the one that is told,
//          and the rest of the 10 000 have come since.
double only_one(int before) {
  std::vector<double> calls;
  for (int run = 0; run < (bench::quick ? 3 : 9); ++run) {
    async_mutex mutex;
    auto held = mutex.try_lock();
    interlock::inplace_stop_source source;
    int cancelled = 0;
    for (int i = 0; i < before; ++i) wait_once(mutex);
    wait_until_told(mutex, source.get_token(), cancelled);
    for (int i = before + 1; i < waiting; ++i) wait_once(mutex);
    const auto start = bench::clock::now();
    source.request_stop();
    calls.push_back(bench::ns_since(start));
    if (cancelled != 1) std::abort();
    held.unlock();
  }
  return bench::median(calls);
}

const bench::contenders here([] {
  const std::string name = "async/cancel one of 10 000 waiters/interlock::async_mutex";
  const auto add = [&](const std::string& how, auto measure) {
    bench::add_timed(name + how + "/alone", [measure](benchmark::State&) { return measure(); });
  };
  add(by_std_token, all_of_them<std::stop_source>);
  add(by_inplace_token, all_of_them<interlock::inplace_stop_source>);
  add(", once, 9999 plain before it", [] { return only_one(waiting - 1); });
  add(", once, 9999 plain behind it", [] { return only_one(0); });
});

}  // namespace
}  // namespace async
