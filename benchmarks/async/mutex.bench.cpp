// SPDX-License-Identifier: BSL-1.0
// interlock::async_mutex from coroutines, from threads, and from both at once.

#include "async/doors.hpp"
#include "async/jobs.hpp"

namespace async {
namespace {

using interlock::async_mutex;

struct lock_blocking_section {
  async_mutex mutex;
  std::int64_t value = 0;
  void operator()(unsigned) {
    const auto held = mutex.lock_blocking();
    benchmark::DoNotOptimize(++value);
  }
};

struct lock_blocking_pair {
  async_mutex mutex;
  void operator()(unsigned) { const auto held = mutex.lock_blocking(); }
};

struct try_lock_pair {
  async_mutex mutex;
  void operator()(unsigned) {
    const auto held = mutex.try_lock();
    if (!held) std::abort();
  }
};

task<> pass_by() {
  for (int i = 0; i < visits; ++i) co_await interlock::reschedule();
}

struct shared_value {
  async_mutex mutex;
  std::int64_t value = 0;
};

// How a visitor of a loop waits, and where it goes on.
struct where_unlocked {  // on the thread that unlocks: so all gather on one
  static auto lock(loop&, shared_value& shared) { return shared.mutex.lock(); }
};
struct at_home {
  static auto lock(loop& home, shared_value& shared) {
    return shared.mutex.lock().resume_on(executor{&home});
  }
};
struct at_home_by_token {
  static auto lock(loop& home, shared_value& shared) {
    static interlock::inplace_stop_source never;
    return shared.mutex.lock(never.get_token()).resume_on(executor{&home});
  }
};

template <class How>
loop::visitor short_sections(loop& home, shared_value& shared) {
  for (int i = 0; i < rounds; ++i) {
    {
      const auto held = co_await How::lock(home, shared);
      if (!held) std::abort();
      benchmark::DoNotOptimize(++shared.value);
    }
    co_await yield();
  }
}

template <class How>
loop::visitor sections_across_a_yield(loop& home, shared_value& shared) {
  for (int i = 0; i < rounds; ++i) {
    const auto held = co_await How::lock(home, shared);
    if (!held) std::abort();
    const std::int64_t seen = shared.value;
    co_await yield();
    shared.value = seen + 1;
  }
}

void enter_as_thread(shared_value& shared) {
  const auto held = shared.mutex.lock_blocking();
  benchmark::DoNotOptimize(++shared.value);
}

const bench::contenders here([] {
  const std::string who = "interlock::async_mutex";
  add_repeated(in_a_coroutine + who, sections<plain>);
  add_repeated(in_a_coroutine + who + by_std_token, sections<std_stoppable>);
  add_repeated(in_a_coroutine + who + by_inplace_token, sections<inplace_stoppable>);
  add_repeated(in_a_coroutine + who + by_deadline, sections<with_deadline>);
  bench::add<lock_blocking_section>(in_a_thread + who + " lock_blocking");
  bench::add_alone<try_lock_pair>(only_a_pair + who + " try_lock");
  bench::add_alone<lock_blocking_pair>(only_a_pair + who + " lock_blocking");
  add_held_across_a_yield<plain>(who);
  add_held_across_a_yield<std_stoppable>(who + by_std_token);
  add_held_across_a_yield<inplace_stoppable>(who + by_inplace_token);
  add_held_across_a_yield<with_deadline>(who + by_deadline);
  add_held_across_a_yield<with_deadline_of<interlock::timer_thread>>(who + by_timer_thread);
  bench::add_timed(a_yield + "interlock::reschedule/alone",
                   [](benchmark::State&) { return crowd_on_one_thread(pass_by); });
  add_loops<shared_value>(loops_short + who, short_sections<where_unlocked>);
  add_loops<shared_value>(loops_short + who + ", resume_on its loop", short_sections<at_home>);
  add_loops<shared_value>(loops_held + who, sections_across_a_yield<where_unlocked>);
  add_loops<shared_value>(loops_held + who + ", resume_on its loop",
                          sections_across_a_yield<at_home>);
  add_loops<shared_value>(loops_held + who + ", resume_on its loop" + by_inplace_token,
                          sections_across_a_yield<at_home_by_token>);
  add_mixed<shared_value>(mixed_short + who, short_sections<at_home>, enter_as_thread);
  add_mixed<shared_value>(mixed_held + who, sections_across_a_yield<at_home>, enter_as_thread);
});

}  // namespace
}  // namespace async
