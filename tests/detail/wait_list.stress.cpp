// SPDX-License-Identifier: BSL-1.0
// wait_list under threads: waits for the first of several cells, with and without a deadline, while
// others commit to all of them. A lost wake-up stops the program; a node that is left behind is
// found by the cells' destructors or by a sanitizer.

#include <interlock/detail/version_word.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace il = interlock::detail;

TEST_CASE("threads that wait for the first of several cells miss no commit") {
  constexpr std::size_t cells = 6;
  constexpr std::size_t picked = 3;
  for (std::size_t round = 0; round < support::rounds(200); ++round) {
    std::array<std::unique_ptr<il::version_word>, cells> all;
    for (auto& each : all) each = std::make_unique<il::version_word>(0U);
    std::atomic<std::size_t> waiting{4};
    std::atomic<std::size_t> wrong{0};
    support::run_threads(6, [&](std::size_t me) {
      std::minstd_rand random(static_cast<unsigned>(me + 10 * round + 1));
      if (me >= 4) {  // commits as long as anybody waits
        while (waiting.load() != 0) {
          il::version_word& cell = *all[random() % cells];
          const auto version = cell.lock();
          cell.publish_and_wake(version + 1);
          if (random() % 16 == 0) std::this_thread::yield();
        }
        return;
      }
      for (int i = 0; i < 300; ++i) {
        std::array<il::version_word*, picked> mine;
        std::array<std::uint64_t, picked> seen;
        for (std::size_t k = 0; k < picked; ++k) {  // one of them twice, now and then
          mine[k] = all[random() % cells].get();
          seen[k] = mine[k]->settled() + random() % 2;
        }
        const auto soon = std::chrono::steady_clock::now() + std::chrono::microseconds(5);
        const bool in_no_hurry = random() % 2 == 0;
        bool woken = true;
        {
          std::array<il::version_word::waiters::node, picked> places;
          il::wait_any<std::uint64_t> here(places.data());
          bool listed = true;
          for (std::size_t k = 0; listed && k < picked; ++k) listed = mine[k]->join(here, seen[k]);
          if (listed) woken = here.wait(in_no_hurry ? nullptr : &soon);
        }
        bool passed = false;
        for (std::size_t k = 0; k < picked; ++k) passed |= mine[k]->settled() > seen[k];
        if (woken && !passed) wrong.fetch_add(1);
      }
      waiting.fetch_sub(1);
    });
    REQUIRE(wrong.load() == 0);
  }
}
