// SPDX-License-Identifier: BSL-1.0
#pragma once

// Adds to a counter, and what became of them. Include a place before.

#include <interlock/store/basic_counter.hpp>
#include <interlock/store/until_known.hpp>

#include <atomic>
#include <cstdint>

#include "common.hpp"

namespace faults {

using place_counter = store::basic_counter<place::client>;

struct tally {
  std::atomic<std::int64_t> applied{0}, unknown{0}, refused{0}, asked_again{0}, lost{0};

  static void count(std::atomic<std::int64_t>& what) {
    // order: relaxed: read when the threads have been joined
    what.fetch_add(1, std::memory_order_relaxed);
  }
  static std::int64_t of(const std::atomic<std::int64_t>& what) {
    // order: relaxed: its writers have been joined, or a momentary value will do
    return what.load(std::memory_order_relaxed);
  }
};

// Effects: adds 1 under one id until it is applied; whatever is not known is asked again.
template <class Between>
void add_once(const place_counter& hits, Between& between, tally& to, store::operation_id id) {
  bool asked = false;
  const auto said = unless_refused([&] {
    return store::until_known(
        [&](const store::call_options& call) {
          if (asked) tally::count(to.asked_again);
          asked = true;
          return between.ask([&] { return hits.add(1, call); });
        },
        {.limit = 20s, .timeout = 5s, .id = id});
  });
  tally::count(said.applied() ? to.applied : to.lost);
}

}  // namespace faults
