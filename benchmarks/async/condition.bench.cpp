// SPDX-License-Identifier: BSL-1.0
// interlock::async_condition: two coroutines that let each other go on.

#include <interlock/async_condition.hpp>

#include "async/jobs.hpp"

namespace async {
namespace {

struct table {
  interlock::async_mutex mutex;
  interlock::async_condition changed;
  int whose = 0;
};

task<> take_turns(table& shared, int me) {
  auto held = co_await shared.mutex.lock();
  for (int i = 0; i < turns_each; ++i) {
    const interlock::wait_status how =
        co_await shared.changed.wait(held, [&shared, me] { return shared.whose == me; });
    if (how != interlock::wait_status::acquired) std::abort();
    shared.whose = 1 - me;
    shared.changed.notify_one();
  }
}

double by_turns(benchmark::State&) {
  return two_coroutines_by_turns<table>(
      [](table& shared, bool first) { return take_turns(shared, first ? 0 : 1); });
}

struct notify_nobody {
  interlock::async_condition changed;
  void operator()(unsigned) { changed.notify_one(); }
};

const bench::contenders here([] {
  bench::add_timed(two_by_turns + "interlock::async_condition and its mutex/alone", by_turns);
  bench::add_alone<notify_nobody>("async/notify nobody/interlock::async_condition");
});

}  // namespace
}  // namespace async
