// SPDX-License-Identifier: BSL-1.0
// versioned under threads: a thousand coroutines and some threads wait for versions.

#include <interlock/versioned.hpp>

#include <atomic>
#include <string>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using interlock::versioned;

namespace {

template <class T>
support::detached count_when_past(const versioned<T>& cell, std::uint64_t seen,
                                  std::atomic<std::size_t>& resumed,
                                  std::atomic<std::size_t>& wrong) {
  const auto now = co_await cell.async_wait(seen);
  if (now.version <= seen) wrong.fetch_add(1);
  resumed.fetch_add(1);
}

support::owned wait_for_ever(const versioned<int>& cell) {
  (void)co_await cell.async_wait(versioned<int>::max_version - 1);
}

template <class T, class Next>
void wait_by_thousands(T first, Next next) {
  const std::size_t coroutines = 1'000;
  for (std::size_t round = 0; round < support::rounds(20); ++round) {
    versioned<T> cell(first);
    std::atomic<std::size_t> resumed{0};
    std::atomic<std::size_t> wrong{0};
    support::run_threads(6, [&](std::size_t me) {
      if (me < 2) {
        for (std::size_t i = 0; i < coroutines / 2; ++i) {
          count_when_past(cell, (i * 7 + me * 3) % coroutines, resumed, wrong);
        }
      } else if (me < 4) {
        for (std::size_t i = 0; i < coroutines / 2; ++i) cell.update(next);
      } else {
        for (std::uint64_t seen = me; seen < coroutines; seen += 100) {
          if (cell.wait(seen).version <= seen) wrong.fetch_add(1);
        }
      }
    });
    REQUIRE(cell.version() == coroutines);
    REQUIRE(resumed.load() == coroutines);
    REQUIRE(wrong.load() == 0);
  }
}

}  // namespace

TEST_CASE("a thousand coroutines and some threads wait for versions that others commit") {
  wait_by_thousands(0, [](int value) { return value + 1; });
}

TEST_CASE("a thousand coroutines and some threads wait for versions of a value on the heap") {
  wait_by_thousands(std::string("x"), [](const std::string& value) { return value; });
}

TEST_CASE("waits for a version that time out or are destroyed leave the others in place") {
  const std::size_t commits = support::rounds(20'000);
  versioned<int> cell(0);
  std::atomic<std::size_t> resumed{0};
  std::atomic<std::size_t> wrong{0};
  support::run_threads(4, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 0; i < commits; ++i) cell.store(static_cast<int>(i));
    } else if (me == 1) {
      support::start_and_destroy(commits, [&] { return wait_for_ever(cell); });
    } else {
      for (std::uint64_t seen = 0; seen < commits; seen += 50) {
        count_when_past(cell, seen, resumed, wrong);
        const auto soon = [me] {
          return std::chrono::steady_clock::now() + std::chrono::microseconds(me == 2 ? 0 : 20);
        };
        while (!cell.wait_until(seen, soon())) {
        }
      }
    }
  });
  CHECK(wrong.load() == 0);
  CHECK(resumed.load() == 2 * ((commits + 49) / 50));
}
