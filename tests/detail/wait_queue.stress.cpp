// SPDX-License-Identifier: BSL-1.0
// The queue and the awaiter under threads: grants, stops, deadlines and threads that wait, all at
// once. What was given is either taken or still there.
// Negative control: an awaiter that forgets what it has decided loses permits in the same harness.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/timer_thread.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/permits.hpp"
#include "support/threads.hpp"

using interlock::inplace_stop_source;
using interlock::timer_thread;
using interlock::wait_status;

namespace {

struct tally {
  std::atomic<int> taken{0};
  std::atomic<int> cancelled{0};
  std::atomic<int> timed_out{0};
  void count(wait_status how) {
    (how == wait_status::acquired    ? taken
     : how == wait_status::cancelled ? cancelled
                                     : timed_out)
        .fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] int all() const { return taken.load() + cancelled.load() + timed_out.load(); }
};

template <class Permits>
support::detached takes_one(Permits& from, tally& ends, interlock::inplace_stop_token stop) {
  const wait_status how = co_await from.take_unless(stop);
  ends.count(how);
}
support::detached takes_one(support::permits& from, tally& ends, timer_thread& timer,
                            timer_thread::time_point deadline) {
  const wait_status how = co_await from.take_until(timer, deadline);
  ends.count(how);
}

// One thread takes with a token, one requests the stop, and one gives, unless all were given before.
template <class Permits>
int lost_to_a_stop(std::size_t rounds, bool given_before) {
  Permits from(given_before ? static_cast<int>(rounds) : 0);
  tally ends;
  std::vector<inplace_stop_source> sources(rounds);
  std::atomic<std::size_t> round{0};
  support::run_threads(given_before ? 2 : 3, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (id == 0) {
        takes_one(from, ends, sources[i].get_token());
        round.store(i + 1, std::memory_order_release);
        continue;
      }
      while (round.load(std::memory_order_acquire) < i) std::this_thread::yield();
      if (id == 1) {
        sources[i].request_stop();
      } else {
        from.give();
      }
    }
  });
  CHECK(ends.all() == static_cast<int>(rounds));
  return static_cast<int>(rounds) - ends.taken.load() - from.free();
}

}  // namespace

TEST_CASE("permits are taken or still there when stops and grants meet") {
  CHECK(lost_to_a_stop<support::permits>(support::rounds(100'000), false) == 0);
  CHECK(lost_to_a_stop<support::permits>(support::rounds(100'000), true) == 0);
}

TEST_CASE("permits are taken or still there when deadlines, grants and threads meet") {
  const std::size_t rounds = support::rounds(50'000);
  support::permits from;
  tally ends;
  {
    timer_thread timer;
    support::run_threads(4, [&](std::size_t id) {
      for (std::size_t i = 0; i < rounds; ++i) {
        const auto soon = timer.now() + std::chrono::microseconds((i * 7) % 60);
        if (id == 0) {
          takes_one(from, ends, timer, soon);
        } else if (id == 1) {
          ends.count(from.take_blocking(&soon));
        } else {
          from.give();
          if (i % 64 == 0) std::this_thread::yield();
        }
      }
    });
    while (ends.all() < static_cast<int>(2 * rounds)) std::this_thread::yield();
  }
  CHECK(ends.all() == static_cast<int>(2 * rounds));
  CHECK(from.free() == static_cast<int>(2 * rounds) - ends.taken.load());
}

TEST_CASE("negative control: an awaiter that forgets what it decided loses permits") {
  using hasty = support::permits_with<support::flaw::forgets_that_it_decided>;
  int lost = 0;
  for (int attempt = 0; attempt < 200 && lost == 0; ++attempt) {
    lost = lost_to_a_stop<hasty>(1'000, true);
  }
  CHECK(lost > 0);
}
