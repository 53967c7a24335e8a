// SPDX-License-Identifier: BSL-1.0
// async_shared_mutex under threads: readers and writers, coroutines and threads, that give up, are
// told to stop, downgrade; early destruction. Negative control: readers and a writer that both look
// and then enter, in the same harness, are in together.

#include <interlock/async_shared_mutex.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/when_all.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::async_shared_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_all;

namespace {

// Sees a writer that is not alone by the numbers inside, and by a pair that is not equal. What is
// `plain` is for TSan.
class protected_section {
public:
  void read() {
    readers_.fetch_add(1, std::memory_order_relaxed);
    if (writers_.load(std::memory_order_relaxed) != 0 || plain_[0] != plain_[1]) seen_both();
    if (plain_[0] % 64 == 0) std::this_thread::yield();
    readers_.fetch_sub(1, std::memory_order_relaxed);
  }
  void write() {
    begin();
    if (plain_[0] % 64 == 0) std::this_thread::yield();
    end();
  }
  void begin() {
    if (writers_.fetch_add(1, std::memory_order_relaxed) != 0) seen_both();
    if (readers_.load(std::memory_order_relaxed) != 0) seen_both();
    ++plain_[0];
  }
  void end() {
    ++plain_[1];
    writers_.fetch_sub(1, std::memory_order_relaxed);
  }
  std::uint64_t written() const { return plain_[1]; }
  std::size_t crowds() const { return crowds_.load(std::memory_order_relaxed); }

private:
  void seen_both() { crowds_.fetch_add(1, std::memory_order_relaxed); }

  std::array<std::uint64_t, 2> plain_{};
  std::atomic<int> readers_{0};
  std::atomic<int> writers_{0};
  std::atomic<std::size_t> crowds_{0};
};

struct guarded {
  async_shared_mutex door;
  protected_section section;
  std::atomic<std::uint64_t> writes{0};
};

task<> write_in(guarded& place, async_shared_mutex::guard held) {
  const auto until_done = std::move(held);
  if (!until_done) co_return;
  place.section.begin();
  co_await reschedule();
  place.section.end();
  place.writes.fetch_add(1, std::memory_order_relaxed);
}
task<> read_in(guarded& place, async_shared_mutex::shared_guard held) {
  const auto until_done = std::move(held);
  if (!until_done) co_return;
  place.section.read();
  co_await reschedule();
  place.section.read();
}

// One of several ways in, drawn.
task<> visit(guarded& place, unsigned kind, inplace_stop_token stop) {
  if (kind == 0) {
    auto held = co_await place.door.lock();
    co_await write_in(place, std::move(held));
  } else if (kind == 1) {
    auto held = co_await place.door.lock(stop);
    co_await write_in(place, std::move(held));
  } else if (kind == 2) {
    auto held = co_await place.door.lock_shared();
    co_await read_in(place, std::move(held));
  } else if (kind == 3) {
    auto held = co_await place.door.lock_shared(stop);
    co_await read_in(place, std::move(held));
  } else {
    auto alone = co_await place.door.lock(stop);
    if (!alone) co_return;
    place.section.write();
    place.writes.fetch_add(1, std::memory_order_relaxed);
    co_await read_in(place, alone.downgrade());
  }
}

void visit_blocking(guarded& place, unsigned kind) {
  const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(kind * 5);
  if (kind < 3) {
    const auto held =
        kind == 0 ? place.door.lock_blocking() : place.door.lock_blocking_until(soon);
    if (!held) return;
    place.section.write();
    place.writes.fetch_add(1, std::memory_order_relaxed);
  } else {
    const auto held = kind == 3 ? place.door.lock_shared_blocking()
                                : place.door.lock_shared_blocking_until(soon);
    if (held) place.section.read();
  }
}

}  // namespace

TEST_CASE("readers and writers of all kinds that come, stop and give up exclude each other") {
  guarded place;
  const std::size_t rounds = support::rounds(30'000);
  std::array<std::atomic<inplace_stop_source*>, 3> at_work{};
  std::atomic<int> working{2};
  support::run_threads(4, [&](std::size_t id) {
    std::minstd_rand random(static_cast<unsigned>(id + 1));
    if (id == 3) {  // stops whoever is at work
      while (working.load() != 0) {
        for (std::size_t i = 0; i < 2; ++i) {
          if (inplace_stop_source* const found = at_work[i].exchange(nullptr)) {
            found->request_stop();
            at_work[i].store(found);
          }
          std::this_thread::yield();
        }
      }
      return;
    }
    for (std::size_t round = 0; round < rounds; ++round) {
      if (id == 2) {
        visit_blocking(place, static_cast<unsigned>(random() % 6));
        continue;
      }
      inplace_stop_source stop;
      at_work[id].store(&stop);
      std::vector<task<>> some;
      for (int i = 0; i < 8; ++i) {
        some.push_back(visit(place, static_cast<unsigned>(random() % 5), stop.get_token()));
      }
      sync_wait(when_all(std::move(some)));
      inplace_stop_source* mine = &stop;
      while (!at_work[id].compare_exchange_weak(mine, nullptr)) {
        mine = &stop;  // it is being asked at this moment
        std::this_thread::yield();
      }
    }
    if (id < 2) working.fetch_sub(1);
  });
  CHECK(place.section.crowds() == 0);
  CHECK(place.section.written() == place.writes.load());
  CHECK_FALSE(place.door.held());
  CHECK(place.door.waiters_approx() == 0);
}

TEST_CASE("whoever sees that it is the last one may destroy the shared mutex") {
  struct shared {
    async_shared_mutex door;
    std::atomic<int> users{4};
  };
  const std::size_t rounds = support::rounds(20'000);
  std::vector<shared*> places;
  for (std::size_t i = 0; i < rounds; ++i) places.push_back(new shared);
  std::atomic<std::size_t> destroyed{0};
  const auto leave = [&](shared* place) {
    if (place->users.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    delete place;
    destroyed.fetch_add(1, std::memory_order_relaxed);
  };
  const auto visit_later = [&](shared* place, bool writes) -> task<> {
    if (writes) {
      auto held = co_await place->door.lock();
      held.unlock();
    } else {
      auto held = co_await place->door.lock_shared();
      held.unlock();
    }
    leave(place);
  };
  support::run_threads(4, [&](std::size_t id) {
    for (shared* const place : places) {
      if (id == 0) {
        place->door.lock_blocking().unlock();
        leave(place);
      } else {
        sync_wait(visit_later(place, id == 1));
      }
    }
  });
  CHECK(destroyed == rounds);
}

TEST_CASE("negative control: readers and writers that look and then enter are in together") {
  std::atomic<int> readers{0};
  std::atomic<int> writers{0};
  std::atomic<std::size_t> crowds{0};
  for (int attempt = 0; attempt < 200 && crowds == 0; ++attempt) {
    support::run_threads(4, [&](std::size_t id) {
      for (int i = 0; i < 1000; ++i) {
        auto& mine = id == 0 ? writers : readers;
        auto& others = id == 0 ? readers : writers;
        while (others.load() != 0) std::this_thread::yield();
        std::this_thread::yield();  // the gap
        mine.fetch_add(1);
        if (others.load() != 0) crowds.fetch_add(1);
        mine.fetch_sub(1);
      }
    });
  }
  CHECK(crowds > 0);
}
