// SPDX-License-Identifier: BSL-1.0
// async_condition under threads: a bounded buffer between coroutines and threads, with waits that
// are stopped and that time out. A lost notification stops the program; a letter that is taken twice
// or never, and a section with two in it, are counted. Negative control: a condition that is looked
// at and then waited for, in a harness of its own, loses its notification.

#include <interlock/async_condition.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::async_condition;
using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;

namespace {

constexpr std::size_t capacity = 2;

// All but the two conditions is plain: the mutex orders it.
struct buffer {
  async_mutex door;
  async_condition not_empty;
  async_condition not_full;
  std::deque<std::uint64_t> letters;
  std::uint64_t sum = 0;
  std::size_t taken = 0;
};

task<> put(buffer& to, std::uint64_t letter) {
  auto held = co_await to.door.lock();
  co_await to.not_full.wait(held, [&to] { return to.letters.size() < capacity; });
  to.letters.push_back(letter);
  to.not_empty.notify_one();
}
void put_blocking(buffer& to, std::uint64_t letter) {
  auto held = to.door.lock_blocking();
  to.not_full.wait_blocking(held, [&to] { return to.letters.size() < capacity; });
  to.letters.push_back(letter);
  held.unlock();
  to.not_empty.notify_one();
}

void take_one(buffer& from) {
  from.sum += from.letters.front();
  from.letters.pop_front();
  ++from.taken;
  from.not_full.notify_one();
}
task<bool> take(buffer& from, inplace_stop_token stop) {
  auto held = co_await from.door.lock();
  const auto filled = [&from] { return !from.letters.empty(); };
  const wait_status how = co_await from.not_empty.wait(held, filled, stop);
  if (how != wait_status::acquired) co_return false;
  take_one(from);
  co_return true;
}
bool take_blocking(buffer& from, std::chrono::steady_clock::time_point deadline) {
  auto held = from.door.lock_blocking();
  const auto filled = [&from] { return !from.letters.empty(); };
  const wait_status how = from.not_empty.wait_blocking_until(deadline, held, filled);
  if (how != wait_status::acquired) return false;
  take_one(from);
  return true;
}

}  // namespace

TEST_CASE("a bounded buffer between coroutines and threads that stop and time out loses nothing") {
  const std::size_t each = support::rounds(20'000);
  buffer shared;
  std::atomic<std::size_t> left{2 * each};
  std::atomic<std::uint64_t> gave_up{0};
  const auto took = [&](bool one) {
    (one ? left : gave_up).fetch_sub(1, std::memory_order_relaxed);
  };
  support::run_threads(4, [&](std::size_t id) {
    std::minstd_rand random(static_cast<unsigned>(id + 1));
    switch (id) {
      case 0:
        for (std::size_t i = 1; i <= each; ++i) sync_wait(put(shared, i));
        break;
      case 1:
        for (std::size_t i = 1; i <= each; ++i) put_blocking(shared, i);
        break;
      case 2:
        while (left.load() != 0) {
          inplace_stop_source stop;
          std::thread other;
          if (random() % 64 == 0) other = std::thread([&stop] { stop.request_stop(); });
          if (left.load() < 4) stop.request_stop();  // the other one takes the rest
          took(sync_wait(take(shared, stop.get_token())));
          if (other.joinable()) other.join();
        }
        break;
      default:
        while (left.load() != 0) {
          const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 50);
          took(take_blocking(shared, soon));
        }
    }
  });
  CHECK(shared.taken == 2 * each);
  CHECK(shared.sum == each * (each + 1));
  CHECK(shared.letters.empty());
}

TEST_CASE("negative control: a notification between the look and the wait is lost") {
  struct round {
    std::atomic<int> ready{0};
    std::atomic<bool> filled{false};
    std::atomic<bool> waiting{false};
    bool waits = false;
    bool notified = false;
  };
  std::vector<round> rounds(20'000);
  support::run_threads(2, [&](std::size_t id) {
    for (round& each : rounds) {
      each.ready.fetch_add(1);
      while (each.ready.load() != 2) std::this_thread::yield();
      if (id == 0) {
        if (each.filled.load()) continue;
        std::this_thread::yield();  // the gap
        each.waiting.store(true);
        each.waits = true;
      } else {
        each.filled.store(true);
        each.notified = each.waiting.load();
      }
    }
  });
  std::size_t lost = 0;
  for (const round& each : rounds) lost += each.waits && !each.notified ? 1U : 0U;
  CHECK(lost > 0);
}
