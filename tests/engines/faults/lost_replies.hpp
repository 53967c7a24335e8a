// SPDX-License-Identifier: BSL-1.0
#pragma once

// Requests and replies are lost on the way. Include a place before.

#include <cstddef>
#include <cstdint>

#include "counting.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

TEST_CASE("lost replies: under an id each add counts once") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.02, 1);
  const auto options = fresh();
  const place_counter hits(between.open(options), "hits");
  constexpr std::size_t workers = 4;
  const std::size_t each = support::rounds(250);
  tally seen;
  support::run_threads(workers, [&](std::size_t me) {
    store::operation_session session;
    for (std::size_t i = 0; i < each; ++i) {
      add_once(hits, between, seen, me % 2 == 0 ? session.next() : store::operation_id::fresh());
    }
  });
  const auto wanted = static_cast<std::int64_t>(workers * each);
  const auto counted = place_counter(here.open(options), "hits").load().value();
  tell(place::engine, "lost replies, with ids: %lld wanted, %lld counted, %lld asked again",
       static_cast<long long>(wanted), static_cast<long long>(counted),
       static_cast<long long>(tally::of(seen.asked_again)));
  CHECK(counted == wanted);
  CHECK(tally::of(seen.lost) == 0);
  CHECK(tally::of(seen.asked_again) > 0);  // or nothing was tested
}

TEST_CASE("lost replies: without an id what is unknown is said so and nothing else is off") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.02, 2);
  const auto options = fresh();
  const place_counter hits(between.open(options), "hits");
  constexpr std::size_t workers = 4;
  const std::size_t each = support::rounds(250);
  tally seen;
  support::run_threads(workers, [&](std::size_t) {
    for (std::size_t i = 0; i < each; ++i) {
      const auto said = between.ask([&] { return hits.add(1); });
      tally::count(said.applied() ? seen.applied : said.unknown() ? seen.unknown : seen.refused);
    }
  });
  const auto applied = tally::of(seen.applied), unknown = tally::of(seen.unknown);
  const auto counted = place_counter(here.open(options), "hits").load().value();
  tell(place::engine,
       "lost replies, no ids: %lld applied, %lld unknown, %lld refused, %lld counted",
       static_cast<long long>(applied), static_cast<long long>(unknown),
       static_cast<long long>(tally::of(seen.refused)), static_cast<long long>(counted));
  CHECK(unknown > 0);
  CHECK(applied <= counted);
  CHECK(counted <= applied + unknown);
}

TEST_CASE("lost replies: who asks again without an id counts twice") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.2, 3);
  const auto options = fresh();
  const place_counter hits(between.open(options), "hits");
  constexpr std::int64_t wanted = 150;
  std::int64_t applied = 0;
  const auto end = steady_clock::now() + 60s;
  while (applied < wanted && steady_clock::now() < end) {
    if (between.ask([&] { return hits.add(1); })) ++applied;  // the naive form
  }
  const auto counted = place_counter(here.open(options), "hits").load().value();
  tell(place::engine, "lost replies, naive retry: %lld wanted, %lld counted",
       static_cast<long long>(wanted), static_cast<long long>(counted));
  REQUIRE(applied == wanted);
  CHECK(counted > wanted);
}
