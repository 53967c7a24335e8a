// SPDX-License-Identifier: BSL-1.0
#pragma once

// Somebody sets the engine's clock, ten minutes forward and back. Include a place before, and with
// it shifted_place: open(options), shift(how far from the true time).

#include <interlock/store/basic_observed_mutex.hpp>
#include <interlock/store/lock_options.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "common.hpp"
#include "support/catch.hpp"

TEST_CASE("clock jumps: an observed mutex has one holder") {
  using namespace faults;
  if (!shifted_place::available()) return;
  shifted_place here;
  const auto options = fresh();
  using mutex = store::basic_observed_mutex<place::client>;
  const mutex one(here.open(options), "door"), other(here.open(options), "door");
  auto guard = one.lock({.lease = 1000ms}).value();
  int two_holders = 0, taken = 0;
  for (const auto shift : {10min, -10min, 0min}) {
    here.shift(shift);
    auto said = other.lock({.lease = 1000ms, .wait = 1200ms});
    if (!said) continue;
    ++taken;  // after a lease without a renewal, on a machine that was too busy; the holder knows
    if (!guard.lost().stop_requested()) ++two_holders;
    said.value().unlock().value();
    guard = one.lock({.lease = 1000ms}).value();
  }
  tell(place::engine, "clock jumps: observed mutex: two holders %d times, taken over %d times",
       two_holders, taken);
  CHECK(two_holders == 0);
}

TEST_CASE("clock jumps: a lease of the engine ends early but what is late is refused") {
  using namespace faults;
  if (!shifted_place::available()) return;
  shifted_place here;
  auto client = here.open(fresh());
  const auto door = client.object_named(store::object_kind::mutex, "door");
  const auto number = client.object_named(store::object_kind::fenced, "number");
  const auto first = store::unique_id::fresh(), second = store::unique_id::fresh();
  std::vector<std::uint64_t> fences;
  fences.push_back(client.lease_acquire(door, first, 60s, {}).value().fence);
  CHECK(client.fenced_open(number, fences[0], first, {}).applied());
  CHECK(client.lease_acquire(door, second, 60s, {}).conflicted());
  here.shift(10min);
  const auto early = client.lease_acquire(door, second, 60s, {});
  REQUIRE(early.applied());  // two holders: what a clock that jumps does to a lease
  fences.push_back(early->fence);
  CHECK(client.fenced_open(number, fences[1], second, {}).applied());
  CHECK(client.fenced_write(number, fences[0], first, "late", {}).conflicted());
  CHECK(client.fenced_open(number, fences[0], first, {}).conflicted());
  CHECK(client.fenced_write(number, fences[1], second, "in time", {}).applied());
  CHECK(client.lease_release(door, second, fences[1], {}).applied());
  for (const auto shift : {-10min, 0min, 10min, -10min}) {
    here.shift(shift);
    const auto owner = store::unique_id::fresh();
    const auto got = client.lease_acquire(door, owner, 60s, {});
    REQUIRE(got.applied());
    fences.push_back(got->fence);
    CHECK(client.lease_release(door, owner, got->fence, {}).applied());
  }
  int back = 0;
  for (std::size_t i = 1; i < fences.size(); ++i) back += fences[i] <= fences[i - 1] ? 1 : 0;
  tell(place::engine,
       "clock jumps: a lease had two holders, 2 late requests refused, %d of %zu fences "
       "went back",
       back, fences.size());
  CHECK(back == 0);
}
