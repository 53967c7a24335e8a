// SPDX-License-Identifier: BSL-1.0
// What a Redis promises by its settings, what its clock does to leases, and what a failover takes.

#include "engines/faults/redis.hpp"

#include <interlock/testing/temporary_folder.hpp>

#include <filesystem>
#include <memory>
#include <utility>

#include "engines/faults/shifted_server.hpp"

#include "engines/faults/clocks.hpp"
#include "engines/faults/settings.hpp"
#include "support/eventually.hpp"

namespace faults {

using interlock::testing::redis_appendonly;

// Returns: whether the client says that history was lost, within some seconds.
inline bool says_history_lost(place::client& client) {
  const auto any = client.object_named(store::object_kind::counter, "any");
  return support::eventually([&] {
    const auto said = client.counter_load(any, {});
    return said.refused() && said.error().code == store::errc::history_lost;
  });
}

}  // namespace faults

TEST_CASE("settings: a Redis promises what its files and its memory give and kill -9 shows it") {
  using namespace faults;
  using store::durability;
  if (!place::available()) return;
  struct server {
    expected_promise row;
    interlock::testing::redis_options how;
  };
  const server all[] = {
      {{"appendonly no", durability::none, "appendonly"}, {}},
      {{"appendfsync everysec", durability::none, "appendfsync"},
       {.appendonly = redis_appendonly::everysec}},
      {{"appendfsync no", durability::process_crash, "appendfsync"},
       {.appendonly = redis_appendonly::always, .settings = {"appendfsync no"}}},
      {{"appendfsync always", durability::power_loss, ""},
       {.appendonly = redis_appendonly::always}},
      {{"allkeys-lru", durability::power_loss, "maxmemory-policy", false},
       {.appendonly = redis_appendonly::always, .maxmemory_policy = "allkeys-lru"}}};
  for (const server& one : all) {
    place here(kept::quick, one.how);
    const auto open = [&](store::client_options options) { return here.open(std::move(options)); };
    promises(one.row, open);
    auto watching = here.open(fresh());
    const auto lost = lost_by_a_crash([&] { here.crash(); }, open);
    const bool loses = one.how.appendonly == redis_appendonly::none;
    const bool told = loses && says_history_lost(watching);
    tell(place::engine, "settings: %s: kill -9 took %lld of 200 acknowledged%s",
         one.row.settings.c_str(), static_cast<long long>(lost), told ? ", history_lost" : "");
    // With everysec it is so only where a flush was under way: nothing is promised of either.
    if (loses || one.row.keeps != durability::none) CHECK((lost > 0) == loses);
    CHECK(told == loses);
  }
}

TEST_CASE("failover: a Redis that lacks acknowledged writes is noticed and fences go on") {
  using namespace faults;
  if (!place::available()) return;
  using interlock::testing::throwaway_redis;
  const interlock::testing::temporary_folder folder;
  const std::string address = folder.path() + "/now";  // leads to the server of the time
  const std::string first_at = folder.path() + "/first", second_at = folder.path() + "/second";
  throwaway_redis first({.appendonly = redis_appendonly::always,
                         .tcp = true,
                         .settings = {"unixsocket " + first_at, "repl-diskless-sync-delay 0"}});
  interlock::testing::lossy_proxy between(first.where());
  throwaway_redis second(
      {.appendonly = redis_appendonly::always,
       .tcp = true,
       .settings = {"unixsocket " + second_at,
                    "replicaof 127.0.0.1 " + std::to_string(between.where().port)}});
  std::filesystem::create_symlink(first_at, address);
  place::client client("unix://" + address, fresh({.timeout = 5s}), {.look_every = 5ms});
  const auto hits = client.object_named(store::object_kind::counter, "hits");
  const auto door = client.object_named(store::object_kind::mutex, "door");
  const auto fence = [&] {
    const auto owner = store::unique_id::fresh();
    const auto got = client.lease_acquire(door, owner, 10s, {}).value().fence;
    client.lease_release(door, owner, got, {}).value();
    return got;
  };
  std::int64_t acknowledged = 0;
  for (int i = 0; i < 20; ++i) acknowledged += client.counter_add(hits, 1, {}).applied() ? 1 : 0;
  static_cast<void>(fence());
  for (int i = 0; i < 5; ++i) first.command({"INCR", "naive fence"});
  REQUIRE(support::eventually([&] {
    return second.command({"GET", "naive fence"}) == "$1\r\n5\r\n";
  }));
  between.cut();  // what follows never reaches the replica
  std::uint64_t highest = 0;
  const auto end = steady_clock::now() + 200ms;  // several looks
  while (steady_clock::now() < end) {
    acknowledged += client.counter_add(hits, 1, {}).applied() ? 1 : 0;
    highest = fence();
  }
  for (int i = 0; i < 5; ++i) first.command({"INCR", "naive fence"});
  first.crash();
  second.command({"REPLICAOF", "NO", "ONE"});
  std::filesystem::create_symlink(second_at, address + ".new");
  std::filesystem::rename(address + ".new", address);
  const bool told = says_history_lost(client);
  CHECK(told);
  client.accept_history();
  const auto counted = unless_refused([&] { return client.counter_load(hits, {}); }).value();
  const auto next = fence();
  const std::string naive = second.command({"INCR", "naive fence"});  // it was 10
  tell(
      place::engine,
      "failover: %lld acknowledged, %lld lost, %s; fences go %s; a fence by INCR went from 10 to 6",
      static_cast<long long>(acknowledged), static_cast<long long>(acknowledged - counted),
      told ? "history_lost" : "NOT noticed", next > highest ? "on" : "BACK");
  CHECK(counted < acknowledged);
  CHECK(next > highest);
  CHECK(naive == ":6\r\n");
}
