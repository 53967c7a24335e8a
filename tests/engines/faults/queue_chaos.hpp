// SPDX-License-Identifier: BSL-1.0
#pragma once

// Workers of a queue are killed, and stopped for longer than their leases. Include a place before.

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "workers.hpp"

namespace faults {

inline constexpr milliseconds chaos_lease = 150ms;
inline constexpr std::uint64_t chaos_tries = 1000;  // nothing is set aside

// What the items of a key did: a fenced resource, whose fence is the attempt, holds their numbers.
// Who finds his item there only has to finish it.
class effects {
public:
  explicit effects(place::client client) : client_(std::move(client)) {}

  // Returns: whether the effect is there, once.
  bool apply(const store::queue_item& item, const store::unique_id& owner) {
    const auto at = of(item.key);
    const auto found = client_.fenced_open(at, item.attempt, owner, {});
    if (!found) return false;
    const std::string done = found->bytes.value_or("");
    const std::string mine = item.payload + " ";
    if (done.size() >= mine.size() && done.substr(done.size() - mine.size()) == mine) return true;
    return client_.fenced_write(at, item.attempt, owner, done + mine, {}).applied();
  }
  std::string done(const std::string& key) {
    return client_.fenced_open(of(key), std::uint64_t{1} << 52U, store::unique_id::fresh(), {})
        .value()
        .bytes.value_or("");
  }

private:
  place::client::object of(const std::string& key) {
    return client_.object_named(store::object_kind::fenced, "effects of " + key);
  }
  place::client client_;
};

inline const bool knows_queue_worker = add_role("queue worker", [](orders& mine) {
  auto client = orders::open();
  const auto queue = client.object_named(store::object_kind::queue, "jobs");
  effects all(client);
  const auto owner = store::unique_id::fresh();
  mine.say("ready");
  for (;;) {
    const auto item = client.queue_take(queue, owner, chaos_lease, chaos_tries, {});
    if (!item) {
      std::this_thread::sleep_for(5ms);
      continue;
    }
    if (all.apply(*item, owner)) {
      static_cast<void>(client.queue_finish(queue, item->key, owner, item->attempt, {}));
    }
  }
});

inline std::string chaos_key(int i) {
  std::string text = "key:";
  text += std::to_string(i);
  return text;
}

}  // namespace faults

TEST_CASE("queue chaos: each item has its effect once and in the order of its key") {
  using namespace faults;
  if (!place::available()) return;
  place here(kept::killed);
  const auto options = fresh({.timeout = 10s});
  auto client = here.open(options);
  const auto queue = client.object_named(store::object_kind::queue, "jobs");
  constexpr int keys = 20, each = 15;
  std::vector<std::string> wanted(keys);
  std::vector<worker> all;
  for (int i = 0; i < 4; ++i) all.emplace_back("queue worker", here, options.prefix);
  for (worker& one : all) REQUIRE(one.heard() == "ready");
  std::mt19937_64 random(13);
  int kills = 0, stops = 0;
  for (int i = 0; i < each; ++i) {
    for (int key = 0; key < keys; ++key) {
      const std::string payload = std::to_string(i);
      unless_refused([&] { return client.queue_push(queue, chaos_key(key), payload, {}); }).value();
      wanted[static_cast<std::size_t>(key)] += payload + " ";
    }
    worker& victim = all[random() % all.size()];
    if (i % 2 == 0) {
      victim.kill();
      victim = worker("queue worker", here, options.prefix);
      ++kills;
    } else {
      victim.stop();
      std::this_thread::sleep_for(i % 4 == 1 ? chaos_lease * 3 / 2 : chaos_lease / 2);
      victim.go_on();
      ++stops;
    }
  }
  const auto empty = [&] {
    const auto depth = client.queue_depth(queue, {});
    return depth && depth->waiting == 0;
  };
  CHECK(comes_true(empty, 60s));
  for (worker& one : all) one.kill();
  effects seen(client);
  int wrong = 0;
  for (int key = 0; key < keys; ++key) {
    if (seen.done(chaos_key(key)) != wanted[static_cast<std::size_t>(key)]) ++wrong;
  }
  const auto depth = client.queue_depth(queue, {}).value();
  tell(place::engine, "queue chaos: %d items, %d kills, %d stops: %d keys of %d wrong", keys * each,
       kills, stops, wrong, keys);
  CHECK(wrong == 0);
  CHECK(depth.set_aside == 0);
}

TEST_CASE("queue chaos: an effect without a fence is doubled by a worker that was late") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  auto client = here.open(fresh());
  const auto queue = client.object_named(store::object_kind::queue, "jobs");
  const auto naive = client.object_named(store::object_kind::counter, "naive");
  effects fenced(client);
  const auto slow = store::unique_id::fresh(), next = store::unique_id::fresh();
  client.queue_push(queue, "key", "0", {}).value();
  const auto by_slow = client.queue_take(queue, slow, 50ms, chaos_tries, {}).value();
  store::queue_item by_next;
  REQUIRE(comes_true([&] {  // a real lease passes
    const auto got = client.queue_take(queue, next, 10s, chaos_tries, {});
    if (got) by_next = *got;
    return got.applied();
  }));
  client.counter_add(naive, 1, {}).value();
  CHECK(fenced.apply(by_next, next));
  CHECK(client.queue_finish(queue, "key", next, by_next.attempt, {}).applied());
  client.counter_add(naive, 1, {}).value();  // the slow one goes on
  CHECK_FALSE(fenced.apply(by_slow, slow));
  CHECK(client.queue_finish(queue, "key", slow, by_slow.attempt, {}).conflicted());
  const auto twice = client.counter_load(naive, {}).value();
  tell(place::engine, "queue chaos, a late worker: the effect %lld times, fenced once",
       static_cast<long long>(twice));
  CHECK(twice == 2);
  CHECK(fenced.done("key") == "0 ");
}
