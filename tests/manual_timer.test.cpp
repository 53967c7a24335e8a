// SPDX-License-Identifier: BSL-1.0
// manual_timer: the contract, one guarantee a case.

#include <interlock/manual_timer.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/permits.hpp"

using interlock::manual_timer;
using interlock::wait_status;
using namespace std::chrono_literals;

static_assert(interlock::timer<manual_timer>);
static_assert(sizeof(manual_timer) <= 72);
static_assert(sizeof(manual_timer::alarm<void (*)()>) <= 64);
static_assert(!std::is_copy_constructible_v<manual_timer>);
static_assert(!std::is_move_constructible_v<manual_timer::alarm<void (*)()>>);

namespace {

manual_timer::time_point at(std::chrono::milliseconds since_start) {
  return manual_timer::time_point(since_start);
}

}  // namespace

TEST_CASE("Time goes on when it is told to and never otherwise") {
  manual_timer timer(at(5ms));
  int calls = 0;
  const manual_timer::alarm bell(timer, at(10ms), [&] { ++calls; });
  CHECK(timer.now() == at(5ms));
  timer.advance_to(at(9ms));
  CHECK(calls == 0);
  timer.advance_to(at(7ms));  // not back
  CHECK(timer.now() == at(9ms));
  timer.advance_to(at(10ms));
  CHECK(calls == 1);
  timer.advance_to(manual_timer::time_point::max());
  CHECK(calls == 1);
}

TEST_CASE("Alarms are called in the order of their deadlines and then of their arming") {
  manual_timer timer;
  std::vector<int> calls;
  const auto logs = [&](int id) { return [&calls, id] { calls.push_back(id); }; };
  const manual_timer::alarm a(timer, at(3ms), logs(1));
  const manual_timer::alarm b(timer, at(1ms), logs(2));
  const manual_timer::alarm c(timer, at(3ms), logs(3));
  { const manual_timer::alarm gone(timer, at(2ms), logs(4)); }
  const manual_timer::alarm d(timer, at(1ms), logs(5));
  timer.advance_to(at(4ms));
  CHECK(calls == std::vector<int>{2, 5, 1, 3});
}

TEST_CASE("an alarm of a manual_timer whose deadline has passed is called by its constructor") {
  manual_timer timer(at(5ms));
  int calls = 0;
  { const manual_timer::alarm now(timer, at(5ms), [&] { ++calls; }); }
  { const manual_timer::alarm past(timer, manual_timer::time_point::min(), [&] { ++calls; }); }
  CHECK(calls == 2);
}

TEST_CASE("What a coroutine arms while time goes on is called in its turn") {
  manual_timer timer;
  support::permits never;
  std::vector<std::string> log;
  const auto ticks = [&](std::string name, std::chrono::milliseconds step) -> support::detached {
    for (int i = 0; i < 3; ++i) {
      const wait_status how = co_await never.take_until(timer, timer.now() + step);
      log.push_back(name + to_string(how) + std::to_string(timer.now().time_since_epoch() / 1ms));
    }
  };
  ticks("a ", 2ms);
  ticks("b ", 3ms);
  timer.advance_to(at(100ms));
  CHECK(log == std::vector<std::string>{"a timed out2", "b timed out3", "a timed out4",
                                        "b timed out6", "a timed out6", "b timed out9"});
  CHECK(timer.now() == at(100ms));
}

TEST_CASE("now tells the deadline of the alarm that is being called") {
  manual_timer timer;
  manual_timer::time_point seen;
  const manual_timer::alarm bell(timer, at(3ms), [&] { seen = timer.now(); });
  timer.advance_to(at(9ms));
  CHECK(seen == at(3ms));
}

TEST_CASE("an alarm may destroy itself and another one") {
  manual_timer timer;
  struct pair {
    pair(manual_timer& t, int& c)
        : calls(c), first(t, at(1ms), rings{this}), second(std::in_place, t, at(1ms), rings{this}) {}
    struct rings {
      pair* self;
      void operator()() const noexcept {
        ++self->calls;
        delete self;
      }
    };
    int& calls;
    manual_timer::alarm<rings> first;
    std::optional<manual_timer::alarm<rings>> second;
  };
  int calls = 0;
  std::make_unique<pair>(timer, calls).release();
  timer.advance_to(at(2ms));
  CHECK(calls == 1);
}

TEST_CASE("alarms of a manual_timer allocate nothing") {
  manual_timer timer;
  const std::size_t before = support::allocations();
  {
    int calls = 0;
    const manual_timer::alarm bell(timer, at(3ms), [&] { ++calls; });
    const manual_timer::alarm late(timer, at(30ms), [&] { ++calls; });
    timer.advance_to(at(9ms));
  }
  CHECK(support::allocations() == before);
}

TEST_CASE("a manual_timer that is destroyed under an alarm ends the program") {
  CHECK(support::death_message([] {
          std::optional<manual_timer> timer(std::in_place);
          const manual_timer::alarm bell(*timer, at(3ms), [] {});
          timer.reset();
        }).find("~manual_timer: an alarm is armed") != std::string::npos);
}
