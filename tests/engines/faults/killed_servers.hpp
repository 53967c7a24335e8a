// SPDX-License-Identifier: BSL-1.0
#pragma once

// kill -9 of the server while threads write. Include a place that has one before.

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "counting.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"

namespace faults {

struct direct {
  template <class F>
  auto ask(F f) const {
    return f();
  }
};
inline const direct nothing_between;

}  // namespace faults

TEST_CASE("killed servers: what was acknowledged is there and what has an id counts once") {
  using namespace faults;
  if (!place::available()) return;
  place here(kept::killed);
  const auto client = here.open(fresh({.timeout = 5s}));
  const place_counter plain(client, "plain"), once(client, "once");
  tally of_plain, of_once;
  std::atomic<bool> over{false};
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&, i] {
      // order: relaxed: only tells to end
      while (!over.load(std::memory_order_relaxed)) {
        if (i % 2 == 0) {
          add_once(once, nothing_between, of_once, store::operation_id::fresh());
          continue;
        }
        const auto said = plain.add(1);
        tally::count(said.applied()   ? of_plain.applied
                     : said.unknown() ? of_plain.unknown
                                      : of_plain.refused);
        if (said.refused()) std::this_thread::sleep_for(1ms);
      }
    });
  }
  constexpr int kills = 3;
  bool went_on = true;
  for (int i = 0; i <= kills; ++i) {
    const auto before = tally::of(of_plain.applied);
    const auto before_once = tally::of(of_once.applied);
    went_on = went_on && support::eventually([&] {
                return tally::of(of_plain.applied) > before + 50 &&
                       tally::of(of_once.applied) > before_once + 50;
              });
    if (i < kills) here.crash();
  }
  // order: relaxed: only tells to end
  over.store(true, std::memory_order_relaxed);
  for (std::thread& one : writers) one.join();
  const auto counted = plain.load().value(), exactly = once.load().value();
  tell(place::engine,
       "killed servers: %d kills; %lld acknowledged, %lld unknown, %lld counted; with ids %lld "
       "acknowledged, %lld counted, %lld asked again",
       kills, static_cast<long long>(tally::of(of_plain.applied)),
       static_cast<long long>(tally::of(of_plain.unknown)), static_cast<long long>(counted),
       static_cast<long long>(tally::of(of_once.applied)), static_cast<long long>(exactly),
       static_cast<long long>(tally::of(of_once.asked_again)));
  CHECK(went_on);
  CHECK(tally::of(of_plain.applied) <= counted);
  CHECK(counted <= tally::of(of_plain.applied) + tally::of(of_plain.unknown));
  CHECK(exactly == tally::of(of_once.applied));
  CHECK(tally::of(of_once.lost) == 0);
}
