// SPDX-License-Identifier: BSL-1.0
// fill_leases: no reader leaves an outdated value in the cache.

#include <interlock/fill_leases.hpp>

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/threads.hpp"

using interlock::fill_leases;

namespace {

// A store whose value only grows, and a cache of it, for one key.
struct scene {
  std::atomic<int> store{0};
  std::atomic<int> removed{0};  // the latest value whose removal of the others has ended
  std::mutex guard;
  std::optional<int> cache;

  void put(int value) {
    const std::lock_guard lock(guard);
    cache = value;
  }
  void erase() {
    const std::lock_guard lock(guard);
    cache.reset();
  }
  std::optional<int> cached() {
    const std::lock_guard lock(guard);
    return cache;
  }
};

// One thread writes and removes, one reads, misses and fills. Returns: how often the cache held an
// older value than the one whose removal had ended.
template <class Fill, class Invalidate>
int outdated(std::size_t rounds, Fill fill, Invalidate invalidate) {
  scene on;
  std::atomic<int> bad{0};
  support::run_threads(2, [&](std::size_t id) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (id == 0) {
        const int now = on.store.fetch_add(1) + 1;
        invalidate(on);
        on.removed = now;
        const auto held = on.cached();
        if (held && *held < now) ++bad;
      } else if (!on.cached()) {
        fill(on);
        const int ended = on.removed;
        const auto held = on.cached();
        if (held && *held < ended) ++bad;
      }
    }
  });
  return bad;
}

}  // namespace

TEST_CASE("A fill is refused if its key was invalidated after its lease was taken") {
  fill_leases<std::string> leases;
  int cache = 0;
  const auto early = leases.take("a");
  CHECK(leases.fill(early, [&] { cache = 1; }));
  CHECK(leases.fill(early, [&] { cache = 2; }));  // still true of the store
  leases.invalidate("a", [&] { cache = 0; });
  CHECK_FALSE(leases.fill(early, [&] { cache = 3; }));
  CHECK(cache == 0);
  CHECK(leases.fill(leases.take("a"), [&] { cache = 4; }));
  CHECK(cache == 4);
}

TEST_CASE("No fill and no invalidation of a key run at the same time") {
  fill_leases<int> leases(1);
  std::atomic<int> inside{0};
  std::atomic<bool> alone{true};
  support::run_threads(3, [&](std::size_t id) {
    const auto one = [&] {
      if (inside.fetch_add(1) != 0) alone = false;
      inside.fetch_sub(1);
    };
    for (std::size_t i = 0; i < support::rounds(20'000); ++i) {
      if (id == 0) {
        leases.invalidate(7, one);
      } else {
        leases.fill(leases.take(7), one);
      }
    }
  });
  CHECK(alone);
}

TEST_CASE("a cache that readers fill under leases holds nothing that is outdated") {
  fill_leases<int> leases;
  CHECK(outdated(
            support::rounds(200'000),
            [&](scene& on) {
              const auto lease = leases.take(1);
              const int read = on.store.load();
              leases.fill(lease, [&] { on.put(read); });
            },
            [&](scene& on) { leases.invalidate(1, [&] { on.erase(); }); }) == 0);
}

TEST_CASE("negative control: a cache that readers fill without leases keeps what is outdated") {
  int seen = 0;
  for (int attempt = 0; attempt < 200 && seen == 0; ++attempt) {
    seen = outdated(
        support::rounds(20'000),
        [](scene& on) {
          const int read = on.store.load();
          for (int i = 0; i < 1000 && on.removed <= read; ++i) std::this_thread::yield();
          on.put(read);
        },
        [](scene& on) { on.erase(); });
  }
  CHECK(seen > 0);
}

TEST_CASE("a lease of a key that shares a slot is refused, never let pass") {
  fill_leases<int> leases(1);
  const auto lease = leases.take(1);
  leases.invalidate(2);
  CHECK_FALSE(leases.fill(lease, [] {}));
}

TEST_CASE("what a fill throws reaches its caller and the slot is free again") {
  fill_leases<int> leases;
  const auto lease = leases.take(1);
  CHECK_THROWS_AS(leases.fill(lease, [] { throw std::runtime_error("no memory"); }),
                  std::runtime_error);
  CHECK(leases.fill(lease, [] {}));
}

TEST_CASE("no slots, and more than there can be, are refused") {
  CHECK_THROWS_AS(fill_leases<int>(0), std::invalid_argument);
  CHECK_THROWS_AS(fill_leases<int>((std::size_t{1} << 32U) + 1), std::invalid_argument);
}
