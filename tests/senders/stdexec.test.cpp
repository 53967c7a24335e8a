// SPDX-License-Identifier: BSL-1.0
// The plain awaitables as senders of stdexec, where that is installed.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>

#include <stdexec/execution.hpp>

#include <tuple>
#include <utility>

#include "support/catch.hpp"

using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::wait_status;

static_assert(stdexec::sender<decltype(std::declval<async_mutex&>().lock())>);

TEST_CASE("stdexec connects, starts and waits for a lock") {
  async_mutex door;
  {
    auto got = stdexec::sync_wait(door.lock());
    REQUIRE(got);
    CHECK(std::get<0>(*got).owns_lock());
    CHECK(door.held());
  }
  CHECK_FALSE(door.held());
}

TEST_CASE("a lock is adapted like any sender") {
  async_mutex door;
  const auto held = door.try_lock();
  inplace_stop_source stop;
  stop.request_stop();
  auto got = stdexec::sync_wait(stdexec::then(door.lock(stop.get_token()), [](auto guard) {
    return guard.status();
  }));
  REQUIRE(got);
  CHECK(std::get<0>(*got) == wait_status::cancelled);
}
