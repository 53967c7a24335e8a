// SPDX-License-Identifier: BSL-1.0
#pragma once

// Workers of a queue are killed, and stopped for longer than their leases. Include a place before.

#include <interlock/store/basic_serial_queue.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/eventually.hpp"
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

using chaos_queue = store::basic_serial_queue<std::string, place::client>;

// Effects, then the end of the item.
class fenced_way {
public:
  static constexpr const char* role = "queue worker";
  explicit fenced_way(const place::client& client) : client_(client), effects_(client) {}

  void work(const chaos_queue& queue, const store::queue_item& item,
            const store::unique_id& owner) {
    if (!effects_.apply(item, owner)) return;
    static_cast<void>(client_.queue_finish(queue.object(), item.key, owner, item.attempt, {}));
  }
  std::string done(const std::string& key) { return effects_.done(key); }

private:
  place::client client_;
  effects effects_;
};

template <class Way>
void work_for_ever(orders& mine) {
  auto client = orders::open();
  const chaos_queue queue(client, "jobs");
  Way way(client);
  const auto owner = store::unique_id::fresh();
  mine.say("ready");
  for (;;) {
    const auto item = client.queue_take(queue.object(), owner, chaos_lease, chaos_tries, {});
    if (item) {
      way.work(queue, *item, owner);
    } else {
      std::this_thread::sleep_for(5ms);
    }
  }
}
inline const bool knows_fenced_way = add_role(fenced_way::role, work_for_ever<fenced_way>);

inline std::string chaos_key(int i) {
  std::string text = "key:";
  text += std::to_string(i);
  return text;
}

template <class Way>
void queue_chaos() {
  place here(kept::killed);
  const auto options = fresh({.timeout = 10s});
  auto client = here.open(options);
  const auto queue = client.object_named(store::object_kind::queue, "jobs");
  constexpr int keys = 20, each = 15;
  std::vector<std::string> wanted(keys);
  std::vector<worker> all;
  for (int i = 0; i < 4; ++i) all.emplace_back(Way::role, here, options.prefix);
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
      victim = worker(Way::role, here, options.prefix);
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
  CHECK(support::eventually(empty, 60s));
  for (worker& one : all) one.kill();
  Way seen(client);
  int wrong = 0;
  for (int key = 0; key < keys; ++key) {
    if (seen.done(chaos_key(key)) != wanted[static_cast<std::size_t>(key)]) ++wrong;
  }
  const auto depth = client.queue_depth(queue, {}).value();
  tell(place::engine, "queue chaos, %s: %d items, %d kills, %d stops: %d keys of %d wrong",
       Way::role, keys * each, kills, stops, wrong, keys);
  CHECK(wrong == 0);
  CHECK(depth.set_aside == 0);
}

}  // namespace faults

TEST_CASE("queue chaos: each item has its effect once and in the order of its key") {
  using namespace faults;
  if (!place::available()) return;
  queue_chaos<fenced_way>();
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
  REQUIRE(support::eventually([&] {  // a real lease passes
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
