// SPDX-License-Identifier: BSL-1.0
// async_mutex: what each kind of bad input ends in: a defined result, or a sentence. What a
// tracked_async_mutex says of the same is in tracked_async_mutex.test.cpp.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>

#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"

using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;

namespace {

support::detached enter(async_mutex& mutex, int& entered) {
  const auto held = co_await mutex.lock();
  ++entered;
}

support::detached relock(async_mutex& mutex, wait_status& end, inplace_stop_source& stop) {
  const auto held = co_await mutex.lock();
  const auto again = co_await mutex.lock(stop.get_token());
  end = again.status();
}

const char* const free_already =
    "interlock: async_mutex: unlocked while free; adopt only a mutex that a guard released\n";
const char* const in_use =
    "interlock: ~async_mutex: still owned or waited for; let every guard and every waiter go "
    "first\n";

}  // namespace

TEST_CASE("unlock of the unlocked ends in a sentence") {
  CHECK(support::death_message([] {
          async_mutex mutex;
          const async_mutex::guard nobodys(mutex, std::adopt_lock);
        }) == free_already);
  CHECK(support::death_message([] {
          async_mutex::guard empty;
          empty.unlock();
        }) == "interlock: async_mutex::guard::unlock: owns no mutex; ask owns_lock() first\n");
}

TEST_CASE("unlock by a stranger ends in a sentence when the owner unlocks") {
  CHECK(support::death_message([] {
          async_mutex mutex;
          const auto held = mutex.try_lock();
          async_mutex::guard(mutex, std::adopt_lock).unlock();
        }) == free_already);
}

TEST_CASE("relock by the owner waits for itself until something else ends it") {
  async_mutex mutex;
  inplace_stop_source stop;
  auto end = wait_status::acquired;
  relock(mutex, end, stop);
  CHECK(mutex.waiters_approx() == 1);
  stop.request_stop();
  CHECK(end == wait_status::cancelled);
  const auto held = mutex.lock_blocking();
  CHECK(held);
  CHECK_FALSE(mutex.try_lock());
}

TEST_CASE("a deadline in the past tries once") {
  async_mutex mutex;
  interlock::manual_timer timer;
  const auto past = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  const auto before_now = timer.now() - std::chrono::seconds(1);
  CHECK(mutex.lock_blocking_until(past));
  CHECK(sync_wait(mutex.lock_until(timer, before_now)));
  const auto held = mutex.try_lock();
  CHECK(mutex.lock_blocking_until(past).status() == wait_status::timed_out);
  CHECK(sync_wait(mutex.lock_until(timer, before_now)).status() == wait_status::timed_out);
}

TEST_CASE("a stop token that was requested before takes nothing") {
  async_mutex mutex;
  inplace_stop_source stop;
  stop.request_stop();
  CHECK(sync_wait(mutex.lock(stop.get_token())).status() == wait_status::cancelled);
  CHECK_FALSE(mutex.held());
}

TEST_CASE("a closed mutex is refused though it is free") {
  async_mutex mutex;
  mutex.close();
  CHECK(mutex.try_lock().status() == wait_status::closed);
  CHECK(mutex.lock_blocking().status() == wait_status::closed);
  CHECK(sync_wait(mutex.lock()).status() == wait_status::closed);
  CHECK(sync_wait(mutex.run_exclusive([] {})).status() == wait_status::closed);
}

TEST_CASE("destruction while owned or waited for ends in a sentence") {
  CHECK(support::death_message([] {
          async_mutex mutex;
          static_cast<void>(mutex.try_lock().release());
        }) == in_use);
  CHECK(support::death_message([] {
          int entered = 0;
          std::optional<async_mutex> mutex(std::in_place);
          const auto held = mutex->try_lock();
          enter(*mutex, entered);
          mutex.reset();
        }) == in_use);
}

TEST_CASE("a refusal that nobody looks at ends in a sentence") {
  const std::string text = support::death_message([] {
    async_mutex mutex;
    mutex.close();
    const auto held = sync_wait(mutex.lock());
  });
  CHECK(text.find("interlock: a guard was refused") == 0);
}
