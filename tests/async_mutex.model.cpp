// SPDX-License-Identifier: BSL-1.0
// async_mutex in every execution: exclusion, hand-over in order, no lost waiter, early destruction.

#include "testing/front.hpp"

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>

using testing::world;

namespace {

// Each thread blocks for the mutex.
void threads_lock(world& w, int threads, int rounds) {
  auto* const door = new interlock::async_mutex;
  int inside = 0;
  for (int t = 0; t < threads; ++t) {
    w.thread([&, door, rounds] {
      for (int i = 0; i < rounds; ++i) {
        const auto held = door->lock_blocking();
        ++inside;  // a plain object: a race if two are inside
      }
    });
  }
  w.finally([&, door] {
    testing::check(inside == threads * rounds, "every section was run");
    delete door;
  });
}

interlock::task<> section(interlock::async_mutex& door, int& inside) {
  const auto held = co_await door.lock();
  ++inside;
}

// Each thread runs a coroutine that awaits the mutex; one may run another's.
void coroutines_lock(world& w, int threads) {
  auto* const door = new interlock::async_mutex;
  int inside = 0;
  for (int t = 0; t < threads; ++t) {
    w.thread([&, door] { interlock::sync_wait(section(*door, inside)); });
  }
  w.finally([&, door] {
    testing::check(inside == threads, "every section was run");
    delete door;
  });
}

}  // namespace

TEST_CASE("async_mutex excludes threads and forgets none: two and three threads") {
  proved([](world& w) { threads_lock(w, 2, 1); });
  proved([](world& w) { threads_lock(w, 3, 1); });
}

TEST_CASE("async_mutex excludes threads and forgets none: two threads, two sections each") {
  proved([](world& w) { threads_lock(w, 2, 2); });
}

TEST_CASE("async_mutex excludes coroutines and forgets none") {
  proved([](world& w) { coroutines_lock(w, 2); });
}

TEST_CASE("async_mutex: the last owner may destroy it") {
  proved([](world& w) {
    struct shared {
      interlock::async_mutex door;
      int users = 2;
    };
    auto* const s = new shared;
    for (int t = 0; t < 2; ++t) {
      w.thread([s] {
        bool last = false;
        {
          const auto held = s->door.lock_blocking();
          last = --s->users == 0;
        }
        if (last) delete s;
      });
    }
    w.finally([] {});
  });
}

TEST_CASE("async_mutex: try_lock sees what the last owner did") {
  proved([](world& w) {
    interlock::async_mutex door;
    int inside = 0;
    w.thread([&] {
      const auto held = door.lock_blocking();
      ++inside;
    });
    w.thread([&] {
      if (const auto held = door.try_lock()) ++inside;
    });
    w.finally([&] { testing::check(inside >= 1, "the blocking one was inside"); });
  });
}

TEST_CASE("async_mutex: each memory order is needed") {
  CHECK(survivors([](world& w) { threads_lock(w, 2, 2); }) == "");
}
