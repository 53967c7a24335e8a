// SPDX-License-Identifier: BSL-1.0
#pragma once

// Count in one store, then write the count to another: who was first to count may be last to write.
// Include a place before.

#include <interlock/mirror_version.hpp>
#include <interlock/store/basic_counter.hpp>
#include <interlock/store/basic_versioned.hpp>

#include <cstdint>
#include <latch>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace faults {

// Effects: 6 callers, each counts and then calls write(value) 5 times. In the first trial two more
//          do so by hand, the first to count being the last to write.
// Returns: the last count.
template <class Write>
std::int64_t count_and_write(const store::basic_counter<place::client>& hits, bool by_hand,
                             Write write) {
  support::run_threads(6, [&](std::size_t) {
    for (int i = 0; i < 5; ++i) write(hits.add(1).value());
  });
  if (by_hand) {
    const std::int64_t first = hits.add(1).value(), second = hits.add(1).value();
    write(second);
    write(first);
  }
  return hits.load().value();
}

}  // namespace faults

TEST_CASE("increment, then write: put_if_newer ends with the last count") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  auto client = here.open(fresh());
  auto other = here.open(fresh());  // the other store
  const auto target = other.object_named(store::object_kind::mirror, "counts");
  const store::basic_versioned<std::int64_t, place::client> naive(other, "naive");
  constexpr int trials = 10;
  int wrong = 0, wrong_naive = 0;
  for (int i = 0; i < trials; ++i) {
    std::string name = "hits";
    name += std::to_string(i);
    const store::basic_counter<place::client> hits(client, name);
    std::int64_t last = count_and_write(hits, i == 0, [&](std::int64_t now) {
      const interlock::mirror_version version{1, static_cast<std::uint64_t>(now)};
      const std::string text = std::to_string(now);
      const auto said =
          unless_refused([&] { return other.mirror_put(target, name, version, text, {}); });
      if (!said.applied() && !said.conflicted()) throw store::failure(said.error());
    });
    if (other.mirror_get(target, name, {}).value().bytes != std::to_string(last)) ++wrong;
    naive.store(0).value();
    const store::basic_counter<place::client> again(client, name + " again");
    last = count_and_write(again, i == 0, [&](std::int64_t now) { naive.store(now).value(); });
    if (naive.load().value().value != last) ++wrong_naive;
  }
  tell(place::engine, "increment, then write: wrong in %d of %d trials; a plain write in %d", wrong,
       trials, wrong_naive);
  CHECK(wrong == 0);
  CHECK(wrong_naive > 0);
}
