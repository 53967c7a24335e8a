// SPDX-License-Identifier: BSL-1.0
// timer_thread: the contract, one guarantee a case.

#include <interlock/timer_thread.hpp>

#include <interlock/watermark.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/permits.hpp"
#include "support/threads.hpp"

using interlock::timer_thread;
using interlock::wait_status;
using interlock::watermark;
using namespace std::chrono_literals;

static_assert(interlock::timer<timer_thread>);
static_assert(sizeof(timer_thread::alarm<void (*)()>) <= 64);
static_assert(!std::is_move_constructible_v<timer_thread>);

TEST_CASE("An alarm is called once at or after its deadline and not if it was destroyed before") {
  watermark<int> rung(0);
  timer_thread timer;
  std::atomic<int> wrong{0};
  const auto then = timer.now() + 5ms;
  {
    const timer_thread::alarm gone(timer, then + 24h, [&] { wrong.fetch_add(1); });
  }
  const timer_thread::alarm later(timer, timer.now() + 24h, [&] { wrong.fetch_add(1); });
  const timer_thread::alarm bell(timer, then, [&] {
    if (timer.now() < then) wrong.fetch_add(1);
    rung.raise(rung.load() + 1);
  });
  const timer_thread::alarm behind(timer, then + 5ms, [&] { rung.raise(rung.load() + 10); });
  rung.wait_for_at_least(11);
  CHECK(rung.load() == 11);
  CHECK(wrong.load() == 0);
}

TEST_CASE("a timer_thread that sleeps for long is woken by an earlier alarm") {
  watermark<int> rung(0);
  timer_thread timer;
  const timer_thread::alarm later(timer, timer.now() + 24h, [] {});
  for (int i = 1; i <= 3; ++i) {
    const timer_thread::alarm bell(timer, timer.now() + 1ms, [&, i] { rung.raise(i); });
    rung.wait_for_at_least(i);
  }
}

TEST_CASE("An alarm whose deadline has passed is called by its constructor") {
  timer_thread timer;
  int calls = 0;
  { const timer_thread::alarm now(timer, timer.now(), [&] { ++calls; }); }
  { const timer_thread::alarm past(timer, timer_thread::time_point::min(), [&] { ++calls; }); }
  CHECK(calls == 2);
}

TEST_CASE("A destroyed alarm is not being called on another thread") {
  timer_thread timer;
  std::atomic<bool> inside{false};
  std::atomic<bool> go_on{false};
  std::atomic<bool> left{false};
  const auto body = [&]() noexcept {
    inside.store(true);
    while (!go_on.load()) std::this_thread::yield();
    left.store(true);
  };
  std::optional<timer_thread::alarm<decltype(body)>> bell;
  bell.emplace(timer, timer.now() + 1ms, body);
  while (!inside.load()) std::this_thread::yield();
  bool returned_after = false;
  std::thread leaver([&] {
    bell.reset();
    returned_after = left.load();
  });
  go_on.store(true);
  leaver.join();
  CHECK(returned_after);
}

TEST_CASE("An alarm may be destroyed by its own call") {
  struct once {
    once(timer_thread& timer, watermark<int>& r)
        : rung(r), bell(timer, timer.now() + 1ms, destroys{this}) {}
    struct destroys {
      once* self;
      void operator()() const noexcept {
        watermark<int>& heard = self->rung;
        delete self;
        heard.raise(1);
      }
    };
    watermark<int>& rung;
    timer_thread::alarm<destroys> bell;
  };
  watermark<int> rung(0);
  timer_thread timer;  // its destructor comes before the end of rung: no raise goes on there
  std::make_unique<once>(timer, rung).release();
  rung.wait_for_at_least(1);
}

TEST_CASE("Coroutines whose deadlines have passed go on after the last of these alarms") {
  support::permits never;
  watermark<int> done(0);
  std::vector<std::string> log;  // the timer's thread alone writes it
  bool armed_in_time = false;
  {
    timer_thread timer;
    const auto then = timer.now() + 20ms;
    const auto note = [&](std::string what) {
      log.push_back(std::move(what));
      done.raise(static_cast<int>(log.size()));
    };
    const auto waits = [&](std::string name) -> support::detached {
      const wait_status how = co_await never.take_until(timer, then);
      note(name + to_string(how));
    };
    waits("a ");
    const timer_thread::alarm bell(timer, then, [&] { note("bell"); });
    waits("b ");
    armed_in_time = timer.now() < then;
    done.wait_for_at_least(3);
  }
  if (!armed_in_time) return;  // this thread was held up: nothing was asked
  CHECK(log == std::vector<std::string>{"bell", "a timed out", "b timed out"});
}

TEST_CASE("alarms of a timer_thread allocate nothing") {
  timer_thread timer;
  watermark<int> rung(0);
  const std::size_t before = support::allocations();
  {
    const timer_thread::alarm bell(timer, timer.now() + 1ms, [&] { rung.raise(1); });
    rung.wait_for_at_least(1);
  }
  CHECK(support::allocations() == before);
}

TEST_CASE("a timer_thread that is destroyed under an alarm ends the program") {
  CHECK(support::death_message([] {
          std::optional<timer_thread> timer(std::in_place);
          const timer_thread::alarm bell(*timer, timer->now() + 24h, [] {});
          timer.reset();
        }).find("~timer_thread: an alarm is armed") != std::string::npos);
}

TEST_CASE("alarms of several threads come and go: each is called once or gone") {
  const std::size_t rounds = support::rounds(3'000);
  std::atomic<std::size_t> wrong{0};
  {
    timer_thread timer;
    support::run_threads(3, [&](std::size_t id) {
      for (std::size_t i = 0; i < rounds; ++i) {
        int calls = 0;  // plain: the destructor orders it
        {
          const auto soon = timer.now() + std::chrono::microseconds((i * (id + 1)) % 60);
          const timer_thread::alarm bell(timer, soon, [&]() noexcept { ++calls; });
          const timer_thread::alarm late(timer, soon + 24h, [&]() noexcept { calls += 2; });
          if (i % 3 == 0) std::this_thread::yield();
        }
        if (calls > 1) wrong.fetch_add(1);
      }
    });
  }
  CHECK(wrong.load() == 0);
}
