// SPDX-License-Identifier: BSL-1.0
// The waiting primitives in every execution: exclusion, no lost wake-up, early destruction.

#include "testing/front.hpp"

#include <interlock/detail/futex_mutex.hpp>
#include <interlock/detail/waiter.hpp>
#include <interlock/versioned.hpp>

namespace detail = interlock::detail;
using testing::world;

namespace {

void sections(world& w, int threads, int rounds) {
  auto* const mutex = new detail::futex_mutex;
  int inside = 0;
  for (int t = 0; t < threads; ++t) {
    w.thread([&, mutex] {
      for (int i = 0; i < rounds; ++i) {
        mutex->lock();
        ++inside;  // a plain object: a race if two are inside
        mutex->unlock();
      }
    });
  }
  w.finally([&, mutex] {
    testing::check(inside == threads * rounds, "every section was run");
    delete mutex;
  });
}

}  // namespace

TEST_CASE("futex_mutex excludes and loses no wake-up: two threads, two sections each") {
  proved([](world& w) { sections(w, 2, 1); });
  proved([](world& w) { sections(w, 2, 2); });
}

TEST_CASE("futex_mutex excludes and loses no wake-up: three threads") {
  proved([](world& w) { sections(w, 3, 1); });
}

TEST_CASE("futex_mutex loses no wake-up if park returns for no reason") {
  testing::options how;
  how.spurious_wakeups = 1;
  const auto report = testing::explore(how, [](world& w) { sections(w, 2, 1); });
  INFO(report.text());
  CHECK(report.proved());
}

// The model tests of what stands on it take a wait as one step.
TEST_CASE("futex_mutex is a mutex and no more if waits are one step") {
  testing::options whole;
  whole.whole_waits = true;
  CHECK(proved([](world& w) { sections(w, 2, 2); }, whole).executions == 6);
  CHECK(proved([](world& w) { sections(w, 3, 1); }, whole).executions == 6);
  CHECK(proved([](world& w) { sections(w, 3, 2); }, whole).executions == 90);
}

TEST_CASE("a seqlock reads no torn value if waits are one step") {
  testing::options whole;
  whole.whole_waits = true;
  proved(
      [](world& w) {
        interlock::versioned<long long> cell(0);
        for (int t = 0; t < 2; ++t) {
          w.thread([&] {
            for (bool saved = false; !saved;) {
              const auto seen = cell.load();
              saved = static_cast<bool>(cell.compare_and_set(seen.version, seen.value + 1));
            }
          });
        }
        w.finally([&] { testing::check(cell.load().value == 2, "no update is lost"); });
      },
      whole);
}

TEST_CASE("futex_mutex: try_lock sees what the last section did") {
  proved([](world& w) {
    detail::futex_mutex mutex;
    int inside = 0;
    for (int t = 0; t < 2; ++t) {
      w.thread([&] {
        if (!mutex.try_lock()) return;
        ++inside;
        mutex.unlock();
      });
    }
    w.finally([&] { testing::check(inside >= 1, "the first one got it"); });
  });
}

TEST_CASE("futex_mutex: each memory order is needed") {
  CHECK(survivors([](world& w) { sections(w, 2, 2); }) == "");
}

TEST_CASE("thread_waiter: wait returns after wake, sees what came before it, and may destroy") {
  const auto body = [](world& w) {
    struct order {
      int goods = 0;
      detail::waiter* handed_over = nullptr;
    };
    auto* const mine = new order;
    std::atomic<detail::waiter*> slot{nullptr};
    w.thread([&, mine] {
      detail::thread_waiter here;
      slot.store(&here, rel);
      here.wait();
      testing::check(mine->goods == 7, "what the waker did is visible");
      delete mine;
    });
    w.thread([&, mine] {
      detail::waiter* node = nullptr;
      while ((node = slot.load(acq)) == nullptr) testing::spin_hint();
      mine->goods = 7;
      node->wake();
    });
    w.finally([] {});
  };
  proved(body);
  CHECK(survivors(body) == "");  // each memory order is needed
}
