// SPDX-License-Identifier: BSL-1.0
// watermark: the contract, one guarantee a case.

#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/watermark.hpp>

#include <algorithm>
#include <compare>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/pages.hpp"
#include "support/stopping.hpp"
#include "support/threads.hpp"

using interlock::watermark;
using namespace std::chrono_literals;

static_assert(sizeof(watermark<std::uint32_t>) == 16);
static_assert(sizeof(watermark<std::uint64_t>) == 16);
static_assert(!std::is_copy_constructible_v<watermark<int>>);
static_assert(!std::is_copy_assignable_v<watermark<int>>);
static_assert(!std::is_default_constructible_v<watermark<int>>);
static_assert(!std::is_convertible_v<int, watermark<int>>);

namespace {

constinit watermark<int> in_static_storage(7);

struct release {
  std::uint32_t major;
  std::uint32_t minor;
  friend auto operator<=>(const release&, const release&) = default;
};

template <class Then>
support::detached when_at(const watermark<int>& w, int height, Then then) {
  co_await w.async_wait_for_at_least(height);
  then();
}

template <class Then>
support::owned owned_when_at(const watermark<int>& w, int height, Then then) {
  co_await w.async_wait_for_at_least(height);
  then();
}

template <class Token>
support::detached until_stopped(const watermark<int>& w, int height, Token stop, int& outcome) {
  outcome = co_await w.async_wait_for_at_least(height, stop) ? 1 : 0;
}

template <class Source>
void stops() {
  watermark<int> w(1);
  Source source;
  int outcome = -1;
  until_stopped(w, 1, source.get_token(), outcome);
  CHECK(outcome == 1);  // reached already
  until_stopped(w, 2, source.get_token(), outcome = -1);
  w.raise(2);
  CHECK(outcome == 1);
  until_stopped(w, 3, source.get_token(), outcome = -1);
  CHECK(outcome == -1);
  source.request_stop();  // resumes it here
  CHECK(outcome == 0);
  until_stopped(w, 3, source.get_token(), outcome = -1);
  CHECK(outcome == 0);  // without being suspended
  until_stopped(w, 2, source.get_token(), outcome = -1);
  CHECK(outcome == 1);
  w.raise(3);
}

}  // namespace

TEST_CASE("watermark starts where it is told to and keeps the maximum") {
  watermark<int> w(10);
  CHECK(w.load() == 10);
  CHECK(in_static_storage.load() == 7);
  CHECK(w.raise(12));
  CHECK_FALSE(w.raise(11));
  CHECK_FALSE(w.raise(12));
  CHECK(w.load() == 12);
  watermark<std::int64_t> below(-5);
  CHECK(below.raise(-4));
  CHECK_FALSE(below.raise(-6));
  CHECK(below.load() == -4);
}

TEST_CASE("watermark takes any small type with a total order") {
  watermark<double> temperature(-1.5);
  CHECK(temperature.raise(0.25));
  CHECK_FALSE(temperature.raise(0.0));
  CHECK(temperature.load() == 0.25);
  watermark<release> newest(release{1, 9});
  CHECK_FALSE(newest.raise(release{1, 8}));
  CHECK(newest.raise(release{2, 0}));
  CHECK(newest.load() == release{2, 0});
  newest.wait_for_at_least(release{1, 10});
  watermark<std::chrono::steady_clock::time_point> last(std::chrono::steady_clock::now());
  CHECK(last.raise(last.load() + 1ns));
}

TEST_CASE("The value never goes down") {
  watermark<std::uint64_t> w(0);
  std::atomic<int> raising{3};
  std::size_t down = 0;
  std::uint64_t highest[3] = {0, 0, 0};
  support::run_threads(4, [&](std::size_t i) {
    if (i < 3) {
      std::uint64_t random = i + 1;
      for (std::size_t k = 0; k < support::rounds(100'000); ++k) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const std::uint64_t offer = k * 64 + (random >> 54U);
        highest[i] = std::max(highest[i], offer);
        w.raise(offer);
      }
      raising.fetch_sub(1);
      return;
    }
    std::uint64_t last = 0;
    while (raising.load() != 0) {
      const std::uint64_t value = w.load();
      down += value < last ? 1U : 0U;
      last = value;
    }
  });
  CHECK(down == 0);
  CHECK(w.load() == std::max({highest[0], highest[1], highest[2]}));
}

TEST_CASE("A raise answers true exactly if it became the maximum") {
  // All threads offer all values in order: each value becomes the maximum once, or is overtaken.
  const std::size_t values = support::rounds(50'000);
  watermark<std::uint64_t> w(0);
  std::vector<std::atomic<int>> became(values + 1);
  support::run_threads(4, [&](std::size_t) {
    for (std::size_t v = 1; v <= values; ++v) {
      if (w.raise(v)) became[v].fetch_add(1, std::memory_order_relaxed);
    }
  });
  std::size_t twice = 0;
  for (const auto& times : became) twice += times.load() > 1 ? 1U : 0U;
  CHECK(twice == 0);
  CHECK(became[0].load() == 0);
  CHECK(became[values].load() == 1);
}

TEST_CASE("A raise to no more than the maximum writes nothing") {
  support::paged<watermark<std::uint64_t>> w(std::uint64_t{100});
  REQUIRE(w.forbid_writes());
  CHECK_FALSE(w->raise(99));
  CHECK_FALSE(w->raise(100));
  w->wait_for_at_least(100);
  CHECK(w->load() == 100);
}

TEST_CASE("A wait returns as soon as the maximum has reached its height and misses no raise") {
  // Two threads lift each other: a wake-up that is missed stops both.
  watermark<std::size_t> w(0);
  const std::size_t steps = support::rounds(20'000);
  std::size_t too_early = 0;
  support::run_threads(2, [&](std::size_t i) {
    for (std::size_t step = i; step < steps; step += 2) {
      w.wait_for_at_least(step);
      if (i == 0) too_early += w.load() < step ? 1U : 0U;
      w.raise(step + 1);
    }
  });
  CHECK(too_early == 0);
  CHECK(w.load() == steps);
  w.wait_for_at_least(steps);
  w.wait_for_at_least(0);
}

TEST_CASE("What was done before a raise that answered true is visible to whoever sees its value") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    watermark<int> w(0);
    std::string data[2];
    bool seen[2] = {false, false};
    support::run_threads(4, [&](std::size_t me) {
      if (me == 0) {
        data[0] = "first";
        w.raise(1);
        w.wait_for_at_least(1);
      } else if (me == 1) {
        w.wait_for_at_least(1);
        data[1] = "second";
        w.raise(2);
      } else if (me == 2) {
        w.wait_for_at_least(2);
        seen[0] = data[0] == "first" && data[1] == "second";
      } else {
        while (w.load() < 2) std::this_thread::yield();
        seen[1] = data[0] == "first" && data[1] == "second";
      }
    });
    REQUIRE(seen[0]);
    REQUIRE(seen[1]);
  }
}

TEST_CASE("A raise wakes only those whose height it has reached") {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<int> heights(20);
    std::iota(heights.begin(), heights.end(), 1);
    std::shuffle(heights.begin(), heights.end(), random);
    watermark<int> w(0);
    std::vector<int> resumed;
    for (const int height : heights) when_at(w, height, [&, height] { resumed.push_back(height); });
    CHECK(resumed.empty());
    for (int top = 0; top < 20;) {
      top = std::min(20, top + static_cast<int>(random() % 4));
      w.raise(top);
      REQUIRE(resumed.size() == static_cast<std::size_t>(top));
    }
    CHECK(std::is_sorted(resumed.begin(), resumed.end()));  // lowest first
  }
}

TEST_CASE("a coroutine waits for a height as a thread does") {
  watermark<int> w(5);
  int reached = 0;
  when_at(w, 5, [&] { ++reached; });
  CHECK(reached == 1);  // without being suspended
  const auto wait_and_load = [](watermark<int>& mark) -> interlock::task<int> {
    co_await mark.async_wait_for_at_least(7);
    co_return mark.load();
  };
  std::string data;
  std::thread raiser([&] {
    data = "seven";
    w.raise(7);
  });
  CHECK(interlock::sync_wait(wait_and_load(w)) >= 7);
  CHECK(data == "seven");
  raiser.join();
}

TEST_CASE("waiting for a height allocates nothing") {
  watermark<int> w(0);
  std::vector<support::owned> waiting;
  for (int i = 1; i <= 10; ++i) waiting.push_back(owned_when_at(w, i, [] {}));
  const std::size_t before = support::allocations();
  CHECK_FALSE(w.wait_for_at_least_until(1, std::chrono::steady_clock::now() + 1ms));
  w.raise(10);
  CHECK(support::allocations() == before);
  for (const support::owned& one : waiting) one.handle.destroy();
}

TEST_CASE("a suspended coroutine may be destroyed and is not resumed") {
  watermark<int> w(0);
  int resumed = 0;
  std::vector<support::owned> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(owned_when_at(w, 1 + i / 2, [&] { ++resumed; }));
  }
  for (const std::size_t gone : {0U, 3U, 7U}) waiting[gone].handle.destroy();
  w.raise(2);
  CHECK(resumed == 2);
  for (const std::size_t gone : {5U, 6U}) waiting[gone].handle.destroy();
  w.raise(9);
  CHECK(resumed == 3);
  for (const std::size_t done : {1U, 2U, 4U}) waiting[done].handle.destroy();
}

TEST_CASE("a coroutine that was released may destroy another one that was") {
  watermark<int> w(0);
  bool resumed = false;
  support::owned second{};
  const support::owned first = owned_when_at(w, 1, [&] { second.handle.destroy(); });
  second = owned_when_at(w, 2, [&] { resumed = true; });
  w.raise(2);
  CHECK_FALSE(resumed);
  first.handle.destroy();
}

TEST_CASE("a coroutine waits for a height no longer than its deadline") {
  watermark<int> w(0);
  interlock::manual_timer timer;
  const auto soon = timer.now() + 5ms;
  support::stop_source source;
  std::vector<std::string> log;
  const auto wait = [&](int height, auto... stop) -> support::detached {
    const bool reached = co_await w.async_wait_for_at_least_until(timer, soon, height, stop...);
    log.push_back(std::to_string(height) + (reached ? " reached" : " not reached"));
  };
  wait(1);
  wait(2);
  wait(3, source.get_token());
  w.raise(1);
  source.request_stop();
  timer.advance_to(soon);
  w.raise(9);
  wait(9);  // a deadline in the past asks
  wait(10);
  CHECK(log == std::vector<std::string>{"1 reached", "3 not reached", "2 not reached", "9 reached",
                                        "10 not reached"});
}

TEST_CASE("a coroutine that waits for a height goes on where its executor runs") {
  watermark<int> w(0);
  std::vector<std::function<void()>> jobs;
  bool resumed = false;
  const auto wait = [&]() -> support::detached {
    co_await w.async_wait_for_at_least(1).resume_on([&](auto f) { jobs.push_back(f); });
    resumed = true;
  };
  wait();
  w.raise(1);
  CHECK_FALSE(resumed);
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(resumed);
}

TEST_CASE("a wait ends when its stop is requested") {
  stops<support::stop_source>();
#if defined(__cpp_lib_jthread)
  stops<std::stop_source>();
  watermark<int> w(0);
  std::stop_source source;
  std::vector<int> outcomes(3, -1);
  for (std::size_t i = 0; i < 3; ++i) {
    until_stopped(w, static_cast<int>(i), source.get_token(), outcomes[i]);
  }
  w.raise(1);
  std::thread([&] { source.request_stop(); }).join();
  CHECK(outcomes == std::vector<int>{1, 1, 0});
#endif
}

TEST_CASE("coroutines that lift each other need no deep stack") {
  const int steps = static_cast<int>(support::rounds(200'000));
  watermark<int> w(0);
  for (int i = 1; i <= steps; ++i) when_at(w, i, [&w, i] { w.raise(i + 1); });
  w.raise(1);
  CHECK(w.load() == steps + 1);
}

TEST_CASE("a watermark that somebody waits for is not destroyed") {
  CHECK(support::death_message([] {
          auto* const w = new watermark<int>(0);
          when_at(*w, 1, [] {});
          delete w;
        }) == "interlock: ~watermark: somebody waits for a height; let every waiter go first\n");
}

TEST_CASE("wait_for_at_least_until gives up at its deadline") {
  watermark<int> w(1);
  const auto now = std::chrono::steady_clock::now;
  CHECK(w.wait_for_at_least_until(1, std::chrono::steady_clock::time_point::min()));
  CHECK_FALSE(w.wait_for_at_least_until(2, std::chrono::steady_clock::time_point::min()));
  CHECK_FALSE(w.wait_for_at_least_until(2, now()));
  const auto deadline = now() + 5ms;
  CHECK_FALSE(w.wait_for_at_least_until(2, deadline));
  CHECK(now() >= deadline);
  bool reached = false;
  std::thread waiter([&] { reached = w.wait_for_at_least_until(2, now() + 1h); });
  w.raise(2);
  waiter.join();
  CHECK(reached);
}

TEST_CASE("one raise releases all who wait for it or less") {
  for (std::size_t i = 0; i < support::rounds(300); ++i) {
    watermark<int> w(0);
    std::atomic<int> released{0};
    support::run_threads(6, [&](std::size_t me) {
      if (me == 0) {
        w.raise(5);
        return;
      }
      w.wait_for_at_least(static_cast<int>(me));
      released.fetch_add(1);
    });
    REQUIRE(released.load() == 5);
  }
}

TEST_CASE("watermark may be destroyed once every call has returned") {
  for (std::size_t i = 0; i < support::rounds(500); ++i) {
    auto w = std::make_unique<watermark<int>>(0);
    std::thread raiser([&] { w->raise(1); });
    w->wait_for_at_least(1);
    raiser.join();
    w.reset();
  }
}
