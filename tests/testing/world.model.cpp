// SPDX-License-Identifier: BSL-1.0
// What explored code may do besides atomic operations: ask the time, wait for a deadline.

#include <chrono>

#include "front.hpp"

#include <interlock/detail/parking.hpp>

using namespace std::chrono_literals;
using testing::world;

namespace {

[[maybe_unused]] bool says(const testing::report& report, const char* words) {
  INFO(report.text());
  return report.failure.find(words) != std::string::npos;
}

namespace hooks = interlock::detail;
using word = std::atomic<std::uint32_t>;
using clock_type = std::chrono::steady_clock;

}  // namespace

// ---- time ---------------------------------------------------------------------------------------

TEST_CASE("the clocks of an explored thread stand still, and begin at the same time in each run") {
  static clock_type::time_point first;
  first = {};
  const auto report = proved([](world& w) {
    atomic<int> x{0};
    if (first == clock_type::time_point{}) first = clock_type::now();
    for (int i = 0; i < 2; ++i) {
      w.thread([&] {
        const auto start = clock_type::now();
        const auto date = std::chrono::system_clock::now();
        const auto tick = hooks::coarse_now();
        x.fetch_add(1, rlx);
        testing::check(start == first, "as in the run before");
        testing::check(clock_type::now() == start, "time does not pass");
        testing::check(std::chrono::system_clock::now() == date, "nor does the date");
        testing::check(hooks::coarse_now() == tick, "nor does the coarse clock");
        testing::check(tick == start.time_since_epoch(), "they are one clock");
      });
    }
    w.finally([] {});
  });
  CHECK(report.executions == 2);
  const auto before = clock_type::now();
  while (clock_type::now() == before) {  // outside, time passes
  }
}

TEST_CASE("time passes by advance(), for who does it and for who learns of it") {
  const auto report = proved([](world& w) {
    atomic<int> x{0};
    const auto start = clock_type::now();
    w.thread([&] {
      testing::advance(5ms);
      testing::check(clock_type::now() == start + 5ms, "own time");
      x.store(1, rlx);
    });
    w.thread([&, start] {
      const bool late = x.load(rlx) == 1;
      w.outcome(late, (clock_type::now() - start) / 1ms);
    });
    w.finally([&] { testing::check(clock_type::now() == start + 5ms, "joined"); });
  });
  CHECK(joined(seen(report)) == "0 0, 1 5");
}

#if !defined(INTERLOCK_FRONT_B)  // a parking word is a std::atomic

namespace {

// Returns: whether the flag was set in time.
bool waits_for(const word& flag, clock_type::time_point deadline) {
  while (flag.load(acq) == 0) {
    if (!hooks::park_until(flag, 0, deadline)) return flag.load(acq) != 0;
  }
  return true;
}

void timed_wait(world& w, bool unparks) {
  word flag{0};
  bool in_time = false;
  w.thread([&] {
    const auto start = clock_type::now();
    in_time = waits_for(flag, start + 10ms);
    const auto passed = clock_type::now() - start;
    testing::check(passed == 0ms || passed == 10ms, "no time between");
    testing::check(in_time || passed == 10ms, "not before the deadline");
  });
  w.thread([&, unparks] {
    flag.store(1, rel);
    if (unparks) hooks::unpark_all(&flag);
  });
  w.finally([&] { w.outcome(in_time); });
}

}  // namespace

TEST_CASE("park_until: woken or timed out, and then the clock is at the deadline") {
  CHECK(joined(seen(proved([](world& w) { timed_wait(w, true); }))) == "0, 1");
}

TEST_CASE("park_until: a lost wake-up costs the time until the deadline, and is no deadlock") {
  const auto report = proved([](world& w) { timed_wait(w, false); });
  CHECK(joined(seen(report)) == "0, 1");
  CHECK(report.blocked > 0);
}

TEST_CASE("park_until: a deadline in the past asks without blocking; none at all is a park") {
  CHECK(proved([](world& w) {
          word flag{0};
          w.thread([&] {
            testing::check(!hooks::park_until(flag, 0, clock_type::now() - 1ms), "passed");
            testing::check(!hooks::park_until(flag, 0, clock_type::now()), "passes");
          });
          w.finally([] {});
        }).executions == 1);
  CHECK(says(failing([](world& w) {
               word flag{0};
               w.thread([&] { (void)hooks::park_until(flag, 0, clock_type::time_point::max()); });
               w.finally([] {});
             }),
             "nobody will unpark it"));
}

TEST_CASE("a loop on a deadline ends: each wake-up may come for another reason") {
  const auto report = proved([](world& w) {
    word flag{0};
    w.thread([&] {
      const auto deadline = clock_type::now() + 1s;
      unsigned rounds = 0;
      while (flag.load(acq) < 2 && clock_type::now() < deadline) {
        hooks::park_until(flag, flag.load(rlx), deadline);
        testing::check(++rounds <= 3, "no more rounds than there are wake-ups");
      }
    });
    w.thread([&] {
      for (int i = 0; i < 2; ++i) {
        flag.fetch_add(1, rel);
        hooks::unpark_all(&flag);
      }
    });
    w.finally([] {});
  });
  CHECK(report.executions > 3);
}

TEST_CASE("a thread that takes a time-out for the event is found") {
  CHECK(says(failing([](world& w) {
               word flag{0};
               w.thread([&] {
                 if (flag.load(acq) == 0) hooks::park_until(flag, 0, clock_type::now() + 1ms);
                 testing::check(flag.load(acq) == 1, "the event has come");
               });
               w.thread([&] {
                 flag.store(1, rel);
                 hooks::unpark_all(&flag);
               });
               w.finally([] {});
             }),
             "the event has come"));
}

TEST_CASE("two deadlines: each may pass first, and who is woken knows that the other one's has passed") {
  const auto report = proved([](world& w) {
    word flag{0};
    long long after[2] = {};
    for (int i = 0; i < 2; ++i) {
      w.thread([&, i] {
        const auto start = clock_type::now();
        const auto wait = i == 0 ? 1ms : 5ms;
        if (!hooks::park_until(flag, 0, start + wait)) flag.fetch_add(1, rlx);
        after[i] = (clock_type::now() - start) / 1ms;
        hooks::unpark_all(&flag);
      });
    }
    w.finally([&] { w.outcome(after[0], after[1]); });
  });
  CAPTURE(joined(seen(report)));
  CHECK(seen(report).count("1 5") == 1);
  CHECK(seen(report).count("1 1") == 1);
}

#endif
