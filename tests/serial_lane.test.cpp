// SPDX-License-Identifier: BSL-1.0
// serial_lane: each guarantee. What it shares with serial_queue is tested and explored there.

#include <interlock/serial_lane.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/occupied.hpp"
#include "support/threads.hpp"

using interlock::post_result;
using interlock::serial_lane;
using support::occupied;

namespace {

template <class F>
std::errc code_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}

}  // namespace

TEST_CASE("A lane is one word") {
  static_assert(sizeof(serial_lane) == 8 || sizeof(void*) != 8);
  const std::vector<serial_lane> many(1000);
  CHECK(many.size() == 1000);
}

TEST_CASE("No two tasks of a lane run at once") {
  serial_lane lane;
  long total = 0;  // unsynchronised on purpose
  const std::size_t each = support::rounds(5'000);
  support::run_threads(4, [&](std::size_t id) {
    for (std::size_t i = 0; i < each; ++i) {
      if (id % 2 == 0) {
        lane.run([&total] { ++total; });
      } else {
        static_cast<void>(lane.post([&total] { ++total; }));
      }
    }
  });
  lane.drain();
  CHECK(total == 4 * static_cast<long>(each));
}

TEST_CASE("Those that were queued run in the order in which they were queued") {
  serial_lane lane;
  std::vector<int> ran;
  {
    occupied busy(lane);
    for (int i = 0; i < 100; ++i) static_cast<void>(lane.post([&ran, i] { ran.push_back(i); }));
    CHECK_FALSE(lane.try_run([] {}));
  }
  lane.drain();
  REQUIRE(ran.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(ran[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("Each accepted task runs") {
  for (std::size_t round = 0; round < support::rounds(300); ++round) {
    std::atomic<int> ran{0};
    std::atomic<int> accepted{0};
    auto lane = std::make_unique<serial_lane>();
    std::atomic<int> left{2};
    support::run_threads(2, [&](std::size_t id) {
      for (int i = 0; i < 5; ++i) {
        accepted += lane->post([&ran] { ++ran; }) == post_result::accepted;
        if (id == 1 && i == 3 && round % 2 == 0) lane->close();
      }
      if (left.fetch_sub(1) == 1) lane.reset();
    });
    REQUIRE(ran == accepted);
  }
}

TEST_CASE("What a task returns or throws reaches the caller of run") {
  serial_lane lane;
  CHECK(lane.run([] { return 5; }) == 5);
  CHECK(lane.try_run([] { return 6; }) == std::optional<int>(6));
  CHECK_THROWS_AS(lane.run([] { throw std::runtime_error("thrown"); }), std::runtime_error);
  CHECK(lane.run([&] { return code_of([&] { lane.run([] {}); }); }) ==
        std::errc::resource_deadlock_would_occur);
  CHECK_THROWS_AS(lane.post(std::function<void()>()), std::invalid_argument);
  const std::string message = support::death_message([] {
    serial_lane other;
    static_cast<void>(other.post([] { throw std::runtime_error("nobody asked"); }));
  });
  CHECK(message.find("nobody asked") != std::string::npos);
}

TEST_CASE("After close a lane accepts nothing") {
  serial_lane lane;
  lane.close();
  CHECK(lane.closed());
  CHECK(lane.post([] {}) == post_result::closed);
  CHECK_FALSE(lane.try_run([] {}));
  CHECK(code_of([&] { lane.run([] {}); }) == std::errc::broken_pipe);
  lane.drain();
}
