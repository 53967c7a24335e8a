// SPDX-License-Identifier: BSL-1.0
// async_mutex under threads: coroutines that migrate, plain threads, both; early destruction.
// Negative control: the flag that is tested and then set, in the same harness, lets two in.

#include <interlock/async_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/when_all.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::async_mutex;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

// What a mutex protects. Sees two owners at once by three signs: the number inside, a version that
// somebody else changed meanwhile, and a total that does not add up. `plain_` is for TSan.
class protected_section {
public:
  // A visit; the thread may be taken away half-way through it.
  void enter_and_leave() {
    const std::uint64_t version = arrive();
    if (version % 64 == 0) std::this_thread::yield();
    leave(version);
  }
  std::uint64_t arrive() {
    if (inside_.fetch_add(1, std::memory_order_relaxed) != 0) seen_two();
    return version_.load(std::memory_order_relaxed);
  }
  void leave(std::uint64_t version) {
    if (version_.load(std::memory_order_relaxed) != version) seen_two();
    version_.store(version + 1, std::memory_order_relaxed);
    inside_.fetch_sub(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t visits() const { return version_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t crowds() const { return crowds_.load(std::memory_order_relaxed); }

private:
  void seen_two() { crowds_.fetch_add(1, std::memory_order_relaxed); }

  std::atomic<int> inside_{0};
  std::atomic<std::uint64_t> version_{0};
  std::atomic<std::size_t> crowds_{0};
};

struct guarded {
  async_mutex mutex;
  protected_section section;
  std::uint64_t plain = 0;  // ordered by ownership alone
};

// The naive lock, with relaxed atomics so that only its logic is wrong.
class tested_then_set {
public:
  void lock() {
    while (held_.load(std::memory_order_relaxed)) std::this_thread::yield();
    std::this_thread::yield();  // the gap
    held_.store(true, std::memory_order_relaxed);
  }
  void unlock() { held_.store(false, std::memory_order_relaxed); }

private:
  std::atomic<bool> held_{false};
};

task<> visit(guarded& place) {
  const auto held = co_await place.mutex.lock();
  ++place.plain;
  place.section.enter_and_leave();
}

task<> visit_across_an_await(guarded& place, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    const auto held = co_await place.mutex.lock();
    ++place.plain;
    const std::uint64_t version = place.section.arrive();
    co_await reschedule();
    place.section.leave(version);
  }
}

void visit_blocking(guarded& place) {
  const auto held = place.mutex.lock_blocking();
  ++place.plain;
  place.section.enter_and_leave();
}

bool try_visit(guarded& place) {
  return place.mutex.try_run_exclusive([&place] {
    ++place.plain;
    place.section.enter_and_leave();
  });
}

void check(const guarded& place, std::uint64_t expected) {
  CHECK(place.section.crowds() == 0);
  CHECK(place.section.visits() == expected);
  CHECK(place.plain == expected);
}

}  // namespace

TEST_CASE("threads exclude each other by lock_blocking") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    const std::size_t each = support::rounds(1'000'000 / threads);
    guarded place;
    support::run_threads(threads, [&](std::size_t) {
      for (std::size_t i = 0; i < each; ++i) visit_blocking(place);
    });
    check(place, threads * each);
  }
}

TEST_CASE("coroutines, threads and impatient callers exclude each other") {
  for (const std::size_t threads : {2U, 4U, 16U}) {
    const std::size_t each = support::rounds(600'000 / threads);
    guarded place;
    std::atomic<std::uint64_t> refused{0};
    support::run_threads(threads, [&](std::size_t id) {
      for (std::size_t i = 0; i < each; ++i) {
        switch ((id + i) % 3) {
          case 0: sync_wait(visit(place)); break;
          case 1: visit_blocking(place); break;
          default:
            if (!try_visit(place)) refused.fetch_add(1, std::memory_order_relaxed);
        }
      }
    });
    check(place, threads * each - refused.load());
  }
}

TEST_CASE("coroutines that hold the mutex across an await and change threads exclude each other") {
  for (const std::size_t threads : {2U, 4U}) {
    const std::size_t rounds = support::rounds(2'000);
    guarded place;
    support::run_threads(threads, [&](std::size_t) {
      for (std::size_t round = 0; round < rounds; ++round) {
        std::vector<task<>> some;
        for (int i = 0; i < 10; ++i) some.push_back(visit_across_an_await(place, 10));
        sync_wait(when_all(std::move(some)));
        visit_blocking(place);
      }
    });
    check(place, threads * rounds * 101);
  }
}

TEST_CASE("the user who sees that it is the last one may destroy the mutex") {
  struct shared {
    async_mutex mutex;
    int users = 4;
    explicit shared(std::atomic<std::size_t>& count) : destroyed(count) {}
    shared(const shared&) = delete;
    shared& operator=(const shared&) = delete;
    ~shared() { destroyed.fetch_add(1, std::memory_order_relaxed); }
    std::atomic<std::size_t>& destroyed;
  };
  const std::size_t rounds = support::rounds(50'000);
  std::atomic<std::size_t> destroyed{0};
  std::vector<shared*> places;
  for (std::size_t i = 0; i < rounds; ++i) {
    places.push_back(std::make_unique<shared>(destroyed).release());
  }
  const auto leave = [](shared* place, async_mutex::guard held) {
    const bool last = --place->users == 0;
    held.unlock();
    if (last) const std::unique_ptr<shared> gone(place);
  };
  const auto leave_later = [&leave](shared* place) -> task<> {
    auto held = co_await place->mutex.lock();
    leave(place, std::move(held));
  };
  support::run_threads(4, [&](std::size_t id) {
    for (shared* const place : places) {
      if (id % 2 == 0) {
        sync_wait(leave_later(place));
      } else {
        leave(place, place->mutex.lock_blocking());
      }
    }
  });
  CHECK(destroyed == rounds);
}

TEST_CASE("waits that end early, and threads with deadlines, exclude each other and lose nobody") {
  const std::size_t rounds = support::rounds(3'000);
  guarded place;
  std::atomic<std::uint64_t> entered{0};
  std::atomic<std::uint64_t> refused{0};
  const auto visit_or_leave = [&](interlock::inplace_stop_token stop, bool lingers) -> task<> {
    const auto held = co_await place.mutex.lock(stop);
    if (!held) {
      refused.fetch_add(1, std::memory_order_relaxed);
      co_return;
    }
    entered.fetch_add(1, std::memory_order_relaxed);
    ++place.plain;
    const std::uint64_t version = place.section.arrive();
    if (lingers) co_await reschedule();
    place.section.leave(version);
  };
  // Each round a thread waits ten times; its neighbour calls those waits off at some moment.
  constexpr std::size_t threads = 4;
  std::array<std::atomic<interlock::inplace_stop_source*>, threads> current{};
  std::array<std::atomic<bool>, threads> in_use{};
  support::run_threads(threads, [&](std::size_t id) {
    const std::size_t neighbour = (id + 1) % threads;
    for (std::size_t round = 0; round < rounds; ++round) {
      interlock::inplace_stop_source stop;
      current[id].store(&stop, std::memory_order_release);
      std::vector<task<>> some;
      for (int i = 0; i < 10; ++i) some.push_back(visit_or_leave(stop.get_token(), i % 2 == 0));
      sync_wait(when_all(std::move(some)));
      current[id].store(nullptr, std::memory_order_release);
      while (in_use[id].exchange(true)) std::this_thread::yield();  // the neighbour is done with it
      in_use[id].store(false);
      if (round % 3 == 0 && !in_use[neighbour].exchange(true)) {
        if (auto* const its = current[neighbour].load(std::memory_order_acquire)) {
          its->request_stop();
        }
        in_use[neighbour].store(false);
      }
      const auto held = place.mutex.lock_blocking_until(std::chrono::steady_clock::now() +
                                                        std::chrono::microseconds(round % 50));
      if (held) {
        entered.fetch_add(1, std::memory_order_relaxed);
        ++place.plain;
        place.section.enter_and_leave();
      }
    }
  });
  check(place, entered.load());
  CHECK_FALSE(place.mutex.held());
  CHECK(place.mutex.waiters_approx() == 0);
}

TEST_CASE("a mutex that is closed under threads tells every one of them") {
  for (std::size_t round = 0; round < support::rounds(300); ++round) {
    guarded place;
    std::atomic<std::uint64_t> entered{0};
    support::run_threads(4, [&](std::size_t id) {
      if (id == 3) return place.mutex.close();
      const auto until_closed = [&]() -> task<> {
        while (true) {
          const auto held = co_await place.mutex.lock();
          if (!held) co_return;
          entered.fetch_add(1, std::memory_order_relaxed);
          ++place.plain;
          place.section.enter_and_leave();
        }
      };
      if (id == 0) {
        while (const auto held = place.mutex.lock_blocking()) {
          entered.fetch_add(1, std::memory_order_relaxed);
          ++place.plain;
          place.section.enter_and_leave();
        }
      } else {
        std::vector<task<>> some;
        for (int i = 0; i < 3; ++i) some.push_back(until_closed());
        sync_wait(when_all(std::move(some)));
      }
    });
    check(place, entered.load());
  }
}

TEST_CASE("negative control: a flag that is tested and then set lets two in") {
  tested_then_set mutex;
  protected_section section;
  for (int attempt = 0; attempt < 200 && section.crowds() == 0; ++attempt) {
    support::run_threads(4, [&](std::size_t) {
      for (int i = 0; i < 1000; ++i) {
        mutex.lock();
        section.enter_and_leave();
        mutex.unlock();
      }
    });
  }
  CHECK(section.crowds() > 0);
}
