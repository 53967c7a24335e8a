// SPDX-License-Identifier: BSL-1.0
// interlock::async_semaphore from coroutines and from threads.

#include <interlock/async_semaphore.hpp>

#include <semaphore>

#include "async/jobs.hpp"

namespace async {
namespace {

using interlock::async_semaphore;

struct ten_permits {
  async_semaphore permits{10};
  auto enter() noexcept { return permits.acquire(); }
};
struct three_of_ten_permits {
  async_semaphore permits{10};
  auto enter() noexcept { return permits.acquire(3); }
};

struct blocking_permit {
  async_semaphore permits{10};
  void operator()(unsigned) { const auto mine = permits.acquire_blocking(); }
};
struct tried_permit {
  async_semaphore permits{10};
  void operator()(unsigned) {
    const auto mine = permits.try_acquire();
    if (!mine) std::abort();
  }
};
struct only_permit {
  async_semaphore permits{1};
  void operator()(unsigned) { const auto mine = permits.acquire_blocking(); }
};

template <std::ptrdiff_t Permits>
struct std_permit {
  std::counting_semaphore<> permits{Permits};
  void operator()(unsigned) {
    permits.acquire();
    permits.release();
  }
};

template <class Door>
task<> use_a_permit(Door& door) {
  for (int i = 0; i < visits; ++i) {
    const auto mine = co_await door.enter();
    co_await interlock::reschedule();
  }
}

template <class Door>
double crowd_with_permits(benchmark::State&) {
  Door door;
  return crowd_on_one_thread([&] { return use_a_permit(door); });
}

const bench::contenders here([] {
  const std::string who = "interlock::async_semaphore";
  add_repeated(permit_in_a_coroutine + who, sections<ten_permits>);
  add_repeated(permit_in_a_coroutine + "std::counting_semaphore",
               blocking_sections<std_permit<10>>);
  bench::add<blocking_permit>(permit_in_a_thread + who + " acquire_blocking");
  bench::add_alone<tried_permit>(permit_in_a_thread + who + " try_acquire");
  bench::add<std_permit<10>>(permit_in_a_thread + "std::counting_semaphore");
  bench::add<only_permit>(only_permit_in_a_thread + who);
  bench::add<std_permit<1>>(only_permit_in_a_thread + "std::counting_semaphore");
  bench::add_timed(fifty_by_ten + who + "/alone", crowd_with_permits<ten_permits>);
  bench::add_timed(
      "async/50 coroutines, 3 of 10 permits each, held across a yield/" + who + "/alone",
      crowd_with_permits<three_of_ten_permits>);
});

}  // namespace
}  // namespace async
