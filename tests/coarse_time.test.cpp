// SPDX-License-Identifier: BSL-1.0
#include <interlock/coarse_time.hpp>

#include <atomic>
#include <chrono>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::coarse_time;
using std::chrono::nanoseconds;

TEST_CASE("A coarse time never goes back") {
  coarse_time time(nanoseconds(5));
  time.advance_to(nanoseconds(3));
  CHECK(time.now() == nanoseconds(5));

  std::atomic<bool> back{false};
  support::run_threads(3, [&](std::size_t t) {
    nanoseconds last{};
    for (std::int64_t i = 0; i < 2'000; ++i) {
      time.advance_to(nanoseconds(3 * i + static_cast<std::int64_t>(t)));
      const nanoseconds now = time.now();
      if (now < last) back.store(true, std::memory_order_relaxed);
      last = now;
    }
  });
  CHECK_FALSE(back.load());
  CHECK(time.now() == nanoseconds(5'999));
}

TEST_CASE("A coarse time is what it was advanced to last") {
  coarse_time time(nanoseconds(1));
  time.advance_to(nanoseconds(7));
  CHECK(time.now() == nanoseconds(7));
  const nanoseconds before = coarse_time::clock();
  const coarse_time of_system;
  CHECK(of_system.now() >= before);
  CHECK(sizeof(coarse_time) == 8);
}
