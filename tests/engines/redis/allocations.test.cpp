// SPDX-License-Identifier: BSL-1.0
// redis::client and redis::batch where there is no memory: no answer is taken for that of another.

#include <interlock/redis/batch.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/allocations.hpp"
#include "support/servers.hpp"
#include "support/threads.hpp"

namespace redis = interlock::redis;
namespace store = interlock::store;
using interlock::testing::throwaway_redis;
using support::fails_with;
using namespace std::chrono_literals;

namespace {

// Counters that are told from one another by their values.
struct told_apart {
  explicit told_apart(const throwaway_redis& server)
      : client(server.url(), {.connections = 1}, {.look_every = 1h}) {
    for (std::int64_t i = 0; i < 20; ++i) {
      all.emplace_back(client, "c" + std::to_string(i));
      REQUIRE(all.back().exchange(1000 * i).applied());
    }
  }
  [[nodiscard]] bool right() {
    bool out = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      out = out && all[i].load().value_or(-1) == 1000 * static_cast<std::int64_t>(i);
    }
    return out;
  }
  redis::client client;
  std::vector<redis::counter> all{};
};

}  // namespace

TEST_CASE("redis::batch: where memory ends in the middle nothing gets the answer of another") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  told_apart counters(server);
  long enough = 0;
  for (bool failed = true; failed && enough < 1000; ++enough) {
    CAPTURE(enough);
    redis::batch many(counters.client);
    for (const redis::counter& each : counters.all) {
      many.load(each);
      many.add(each, 0, store::operation_id::fresh());
    }
    failed = fails_with(enough, [&] { many.run(); });
    REQUIRE(many.size() == 0);
    const auto third = many.load(counters.all[3]);
    const auto fifth = many.load(counters.all[5]);
    many.run();
    REQUIRE(many[third].value_or(-1) == 3000);
    REQUIRE(many[fifth].value_or(-1) == 5000);
    REQUIRE(counters.right());
  }
  CHECK((enough > 5 || support::sanitized));  // the control: some failed
  CHECK(enough < 1000);
}

TEST_CASE("redis::batch: an operation that found no memory is not queued") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  told_apart counters(server);
  redis::versioned<std::string> cell(counters.client, "cell");
  long enough = 0;
  for (bool failed = true; failed && enough < 1000; ++enough) {
    CAPTURE(enough);
    redis::batch many(counters.client);
    failed = fails_with(enough, [&] {
      for (const redis::counter& each : counters.all) {
        many.load(each);
        many.add(each, 0, store::operation_id::fresh());
        many.store(cell, "a text that is too long to be kept without memory");
      }
    });
    const std::size_t before = many.size();
    const auto third = many.load(counters.all[3]);
    const auto last = many.store(cell, "last");
    const auto fifth = many.load(counters.all[5]);
    REQUIRE(many.size() == before + 3);
    many.run();
    REQUIRE(many[third].value_or(-1) == 3000);
    REQUIRE(many[last].applied());
    REQUIRE(many[fifth].value_or(-1) == 5000);
    REQUIRE(cell.load()->value == "last");
  }
  CHECK((enough > 5 || support::sanitized));
  CHECK(enough < 1000);
}

TEST_CASE("redis::client: a connection that owes answers is given to nobody") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  told_apart counters(server);  // an incarnation, too
  const store::client_options options{.connections = 1};
  redis::detail::pooled executor(
      server.url(), options, {},
      std::make_shared<redis::detail::history>(options.prefix, options.retention));
  const store::detail::call_deadline deadline(10s);
  {
    auto lent = executor.borrow(deadline, "test");
    REQUIRE(lent);
    std::string two;
    for (const std::string_view key : {"{interlock}:counter:c1", "{interlock}:counter:c2"}) {
      const std::vector<std::string_view> get{"GET", key};
      redis::detail::append_command(two, get);
    }
    REQUIRE((*lent)->send(two, 2, deadline) == two.size());
    CHECK_FALSE((*lent)->settled());
    CHECK((*lent)->read(deadline).text() == "1000");
    CHECK_FALSE((*lent)->settled());
  }
  const std::vector<std::string_view> get{"GET", "{interlock}:counter:c3"};
  CHECK(executor.execute(get, deadline, false).text() == "3000");
  auto again = executor.borrow(deadline, "test");
  REQUIRE(again);
  CHECK((*again)->settled());
}

TEST_CASE("redis::client: a command that found no memory leaves the next one its own answer") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  told_apart counters(server);
  long enough = 0;
  for (bool failed = true; failed && enough < 1000; ++enough) {
    CAPTURE(enough);
    failed = fails_with(enough, [&] {
      static_cast<void>(counters.all[7].load());
      static_cast<void>(counters.all[9].add(0, {.id = store::operation_id::fresh()}));
    });
    REQUIRE(counters.right());
  }
  CHECK((enough > 1 || support::sanitized));
  CHECK(enough < 1000);
}

TEST_CASE("redis::client: a broken connection is not healthy where there is no memory to say why") {
  if (!support::need_redis()) return;
  throwaway_redis server;
  // hiredis writes and reads, as with TLS.
  redis::detail::connection on(redisConnectUnix(server.where().path.c_str()), true);
  const store::detail::call_deadline deadline(10s);
  CHECK(on.healthy(deadline));
  server.crash();
  bool healthy = true;
  CHECK_FALSE(fails_with(0, [&] { healthy = on.healthy(deadline); }));
  CHECK_FALSE(healthy);
  CHECK_FALSE(on.settled());
}
