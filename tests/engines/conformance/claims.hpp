// SPDX-License-Identifier: BSL-1.0
#pragma once

// Idempotency stores of any engine. Included by conformance.hpp.

#include "engines/conformance/numbers.hpp"
#include "support/eventually.hpp"

TEST_CASE("A key of an idempotency store is run by one and answered to all in each engine") {
  data_set data;
  engine e = data.client();
  using state = store::idempotency_claim::state;
  const object orders = e.object_named(object_kind::idempotency, "orders:new");
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  const fingerprint print = interlock::fingerprint_of("a");
  const fingerprint odd = interlock::fingerprint_of("b");
  for (const std::string& key : {odd_names()[1], odd_names()[3]}) {
    const auto mine = e.idempotency_claim(orders, key, print, one, 60s, {}).value();
    CHECK(mine.what == state::claimed);
    const auto again = e.idempotency_claim(orders, key, print, one, 60s, {}).value();
    CHECK((again.what == state::claimed && again.attempt == mine.attempt));
    const auto busy = e.idempotency_claim(orders, key, print, two, 60s, {}).value();
    CHECK((busy.what == state::busy && busy.remaining > 1s && busy.remaining <= 60s));
    CHECK(e.idempotency_claim(orders, key, odd, two, 60s, {}).value().what == state::mismatch);
    CHECK(e.idempotency_heartbeat(orders, key, one, mine.attempt, 60s, {}).applied());
    CHECK(e.idempotency_heartbeat(orders, key, two, mine.attempt, 60s, {}).conflicted());
    CHECK(e.idempotency_complete(orders, key, two, mine.attempt, "x", 60s, {}).conflicted());
    CHECK(e.idempotency_complete(orders, key, one, mine.attempt + 1, "x", 60s, {}).conflicted());
    const std::string answer = odd_value();
    CHECK(e.idempotency_complete(orders, key, one, mine.attempt, answer, 60s, {}).applied());
    CHECK(e.idempotency_complete(orders, key, one, mine.attempt, answer, 60s, {}).applied());
    const auto done = e.idempotency_claim(orders, key, print, two, 60s, {}).value();
    CHECK((done.what == state::done && done.response == answer && done.attempt == 1));
    CHECK(e.idempotency_claim(orders, key, odd, two, 60s, {}).value().what == state::mismatch);
    CHECK(e.idempotency_heartbeat(orders, key, one, mine.attempt, 60s, {}).conflicted());
    CHECK(e.idempotency_release(orders, key, one, mine.attempt, {}).conflicted());
  }
}

TEST_CASE("A key that was released or whose owner fell silent is run by the next") {
  data_set data;
  engine e = data.client();
  using state = store::idempotency_claim::state;
  const object orders = e.object_named(object_kind::idempotency, "orders");
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  const fingerprint print = interlock::fingerprint_of("a");
  const auto first = e.idempotency_claim(orders, "k", print, one, 60s, {}).value();
  CHECK(e.idempotency_release(orders, "k", one, first.attempt, {}).applied());
  CHECK(e.idempotency_complete(orders, "k", one, first.attempt, "late", 60s, {}).conflicted());
  const auto second =
      e.idempotency_claim(orders, "k", interlock::fingerprint_of("b"), two, 30ms, {}).value();
  CHECK((second.what == state::claimed && second.attempt > first.attempt));
  CHECK(e.idempotency_release(orders, "k", two, second.attempt, {}).applied());
  const auto third = e.idempotency_claim(orders, "k", print, two, 30ms, {}).value();
  store::idempotency_claim next;
  CHECK(support::eventually([&] {
    next = e.idempotency_claim(orders, "k", print, one, 60s, {}).value();
    return next.what == state::claimed;
  }));
  CHECK(next.attempt > third.attempt);
  CHECK(e.idempotency_complete(orders, "k", two, third.attempt, "late", 60s, {}).conflicted());
  CHECK(e.idempotency_complete(orders, "k", one, next.attempt, "good", 60s, {}).applied());
  CHECK(e.idempotency_claim(orders, "k", print, two, 60s, {}).value().response == "good");
}

TEST_CASE("An answer is forgotten when its time to be kept has passed in each engine") {
  data_set data;
  engine e = data.client();
  using state = store::idempotency_claim::state;
  const object orders = e.object_named(object_kind::idempotency, "orders");
  const unique_id one = unique_id::fresh();
  const fingerprint print = interlock::fingerprint_of("a");
  const auto first = e.idempotency_claim(orders, "k", print, one, 60s, {}).value();
  CHECK(e.idempotency_complete(orders, "k", one, first.attempt, "r", 30ms, {}).applied());
  CHECK(support::eventually([&] {
    const auto seen = e.idempotency_claim(orders, "k", print, unique_id::fresh(), 60s, {}).value();
    return seen.what == state::claimed && seen.attempt > first.attempt;
  }));
}
