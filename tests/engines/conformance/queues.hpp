// SPDX-License-Identifier: BSL-1.0
#pragma once

// Queues of any engine. Included by conformance.hpp.

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "engines/conformance/numbers.hpp"
#include "support/eventually.hpp"

TEST_CASE("A queue of an engine gives the items of a key in order and to one at a time") {
  data_set data;
  engine e = data.client();
  const object line = e.object_named(object_kind::queue, "line:1");
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  const auto idle = e.queue_take(line, one, 60s, 5, {});
  REQUIRE(idle.conflicted());
  CHECK_FALSE(idle.conflict().next);
  const std::string key = odd_names()[3];
  const std::string payload = odd_value();
  CHECK(e.queue_push(line, key, payload, {}).value() == 1);
  CHECK(e.queue_push(line, key, "second", {}).value() == 2);
  CHECK(e.queue_push(line, "other", "", {}).value() == 1);
  auto depth = e.queue_depth(line, {}).value();
  CHECK((depth.waiting == 3 && depth.taken == 0 && depth.set_aside == 0));
  const auto first = e.queue_take(line, one, 60s, 5, {}).value();
  CHECK((first.key == key && first.sequence == 1 && first.tries == 1));
  CHECK(first.payload == payload);
  const auto other = e.queue_take(line, two, 60s, 5, {}).value();
  CHECK((other.key == "other" && other.payload.empty()));
  const auto none = e.queue_take(line, two, 60s, 5, {});  // its key is worked on
  REQUIRE(none.conflicted());
  CHECK((none.conflict().next && *none.conflict().next > 1s && *none.conflict().next <= 60s));
  depth = e.queue_depth(line, {}).value();
  CHECK((depth.waiting == 3 && depth.taken == 2));
  CHECK(e.queue_finish(line, key, two, first.attempt, {}).conflicted());
  CHECK(e.queue_finish(line, key, one, first.attempt + 1, {}).conflicted());
  CHECK(e.queue_heartbeat(line, key, one, first.attempt, 60s, {}).applied());
  CHECK(e.queue_finish(line, key, one, first.attempt, {}).applied());
  CHECK(e.queue_heartbeat(line, key, one, first.attempt, 60s, {}).conflicted());
  const auto second = e.queue_take(line, two, 60s, 5, {}).value();
  CHECK((second.key == key && second.sequence == 2 && second.payload == "second"));
  CHECK(second.attempt > first.attempt);
  CHECK(e.queue_finish(line, key, two, second.attempt, {}).applied());
  CHECK(e.queue_finish(line, "other", two, other.attempt, {}).applied());
  CHECK(e.queue_push(line, key, "third", {}).value() == 3);  // numbers go on
}

TEST_CASE("A push that is repeated under its id is in the queue once in each engine") {
  data_set data;
  engine e = data.client();
  const object line = e.object_named(object_kind::queue, "line");
  const operation_id id = operation_id::fresh();
  CHECK(e.queue_push(line, "k", "a", {.id = id}).value() == 1);
  CHECK(e.queue_push(line, "k", "b", {}).value() == 2);
  CHECK(e.queue_push(line, "k", "a", {.id = id}).value() == 1);
  CHECK(e.queue_depth(line, {}).value().waiting == 2);
}

TEST_CASE("An item that was given back comes again after its delay and before what follows it") {
  data_set data;
  engine e = data.client();
  const object line = e.object_named(object_kind::queue, "line");
  const unique_id one = unique_id::fresh();
  e.queue_push(line, "k", "a", {}).value();
  e.queue_push(line, "k", "b", {}).value();
  const auto first = e.queue_take(line, one, 60s, 5, {}).value();
  CHECK(e.queue_give_back(line, "k", one, first.attempt, 50ms, {}).applied());
  CHECK(e.queue_give_back(line, "k", one, first.attempt, 50ms, {}).conflicted());
  std::optional<store::queue_item> again;
  CHECK(support::eventually([&] {
    const auto got = e.queue_take(line, one, 60s, 5, {});
    if (got) again = *got;
    return got.applied();
  }));
  CHECK((again->payload == "a" && again->sequence == 1 && again->tries == 2));
  CHECK(again->attempt > first.attempt);
  CHECK(e.queue_finish(line, "k", one, again->attempt, {}).applied());
  CHECK(e.queue_take(line, one, 60s, 5, {}).value().payload == "b");
}

TEST_CASE("An item whose worker fell silent goes to another who alone may finish it") {
  data_set data;
  engine e = data.client();
  const object line = e.object_named(object_kind::queue, "line");
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  e.queue_push(line, "k", "a", {}).value();
  const auto lost = e.queue_take(line, one, 30ms, 5, {}).value();
  std::optional<store::queue_item> again;
  CHECK(support::eventually([&] {
    const auto got = e.queue_take(line, two, 60s, 5, {});
    if (got) again = *got;
    return got.applied();
  }));
  CHECK((again->payload == "a" && again->tries == 2 && again->attempt > lost.attempt));
  CHECK(e.queue_finish(line, "k", one, lost.attempt, {}).conflicted());
  CHECK(e.queue_give_back(line, "k", one, lost.attempt, 0ms, {}).conflicted());
  CHECK(e.queue_finish(line, "k", two, again->attempt, {}).applied());
  CHECK(e.queue_take(line, two, 60s, 5, {}).conflicted());
}

TEST_CASE("An item that fails too often is set aside and its key goes on") {
  data_set data;
  engine e = data.client();
  const object line = e.object_named(object_kind::queue, "line");
  const unique_id one = unique_id::fresh();
  e.queue_push(line, "k", "poison", {}).value();
  e.queue_push(line, "k", "good", {}).value();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    const auto got = e.queue_take(line, one, 60s, 3, {}).value();
    CHECK((got.payload == "poison" && got.tries == i));
    CHECK(e.queue_give_back(line, "k", one, got.attempt, 0ms, {}).applied());
  }
  const auto next = e.queue_take(line, one, 60s, 3, {}).value();
  CHECK((next.payload == "good" && next.sequence == 2));
  CHECK(e.queue_finish(line, "k", one, next.attempt, {}).applied());
  auto depth = e.queue_depth(line, {}).value();
  CHECK((depth.waiting == 0 && depth.set_aside == 1));
  const auto aside = e.queue_set_aside(line, 10, {}).value();
  REQUIRE(aside.size() == 1);
  CHECK((aside[0].key == "k" && aside[0].payload == "poison" && aside[0].sequence == 1));
  e.queue_push(line, "k", "later", {}).value();
  CHECK(e.queue_restore(line, "k", 1, {}).value() == 4);
  CHECK_FALSE(e.queue_restore(line, "k", 1, {}).applied());
  depth = e.queue_depth(line, {}).value();
  CHECK((depth.waiting == 2 && depth.set_aside == 0));
  const auto later = e.queue_take(line, one, 60s, 3, {}).value();
  CHECK(later.payload == "later");
  CHECK(e.queue_finish(line, "k", one, later.attempt, {}).applied());
  const auto restored = e.queue_take(line, one, 60s, 3, {}).value();
  CHECK((restored.payload == "poison" && restored.tries == 1 && restored.sequence == 4));
}

TEST_CASE("Workers of one queue lose nothing and double nothing and keep the order of a key") {
  data_set data;
  engine first = data.client();
  const object line = first.object_named(object_kind::queue, "line");
  constexpr int keys = 5;
  constexpr int items = 8;
  for (int i = 0; i < items; ++i) {
    for (int k = 0; k < keys; ++k) {
      first.queue_push(line, std::to_string(k), std::to_string(i), {}).value();
    }
  }
  std::mutex guard;
  std::map<std::string, std::vector<std::string>> done;
  std::map<std::string, int> inside;
  std::atomic<int> together{0};
  std::atomic<int> failed{0};
  support::run_threads(3, [&](std::size_t id) {
    engine e = data.client();
    const unique_id me = unique_id::fresh();
    dice roll(100 + id);
    for (;;) {
      const auto got = e.queue_take(line, me, 60s, 1000, {});
      if (got.refused() || got.unknown()) {
        ++failed;
        return;
      }
      if (!got) {
        if (!got.conflict().next) return;
        std::this_thread::yield();
        continue;
      }
      {
        const std::lock_guard lock(guard);
        together += ++inside[got->key] != 1;
      }
      const bool again = roll(0, 3) == 0;
      {
        const std::lock_guard lock(guard);
        --inside[got->key];
        if (!again) done[got->key].push_back(got->payload);
      }
      const auto over = again ? e.queue_give_back(line, got->key, me, got->attempt, 0ms, {})
                              : e.queue_finish(line, got->key, me, got->attempt, {});
      failed += !over.applied();
    }
  });
  CHECK(failed == 0);
  CHECK(together == 0);
  std::vector<std::string> order;
  for (int i = 0; i < items; ++i) order.push_back(std::to_string(i));
  REQUIRE(done.size() == keys);
  for (const auto& [key, seen] : done) CHECK(seen == order);
}
