// SPDX-License-Identifier: BSL-1.0
// A pooler or a server that ends in the middle: what may have been done is unknown, and never done
// again.

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/serial_queue.hpp>
#include <interlock/postgres/transaction.hpp>

#include "pooler.hpp"
#include "server.hpp"

#include <string>

namespace {

struct ending {
  const char* severity;
  const char* state;
};
// What PgBouncer says of a server that is gone, with and without a severity of its own, and a disk
// that is full.
constexpr ending endings[] = {
    {"FATAL", "08P01"}, {"ERROR", "08P01"}, {"PANIC", "53100"}, {"PANIC", "58030"}};

}  // namespace

TEST_CASE("What PostgreSQL did before a pooler lost it is unknown and not done again") {
  pooler between(server().where());
  // Unprepared, requests can be told apart by their text.
  postgres::client c(server().conninfo(between.where()),
                     {.prefix = fresh_prefix(), .connections = 1}, {.prepare = false});
  const auto hits = c.object_named(object_kind::counter, "hits");
  std::int64_t value = 0;
  for (const ending& how : endings) {
    CAPTURE(how.severity, how.state);
    between.lose_next(how.severity, how.state, "counter");
    const auto added = c.counter_add(hits, 1, {});
    REQUIRE(between.lost());
    CHECK(added.unknown());
    CHECK(c.counter_load(hits, {}).value() == ++value);
    const auto id = operation_id::fresh();
    between.lose_next(how.severity, how.state, "counter");
    CHECK(c.counter_add(hits, 1, {.id = id}).unknown());
    CHECK(c.counter_add(hits, 1, {.id = id}).value() == ++value);
    CHECK(c.counter_load(hits, {}).value() == value);
  }
}

TEST_CASE("A transaction of PostgreSQL whose COMMIT met the end of a pooler runs once") {
  pooler between(server().where());
  postgres::client c(server().conninfo(between.where()),
                     {.prefix = fresh_prefix(), .connections = 1}, {.prepare = false});
  const postgres::counter hits(c, "hits");
  const auto line = c.object_named(object_kind::queue, "line");
  const postgres::serial_queue<int> queue(c, "line");
  std::uint64_t waiting = 0;
  for (const ending& how : endings) {
    CAPTURE(how.severity, how.state);
    int bodies = 0;
    between.lose_next(how.severity, how.state, "commit");
    const auto pushed = postgres::atomically(c, [&](postgres::transaction& t) {
      ++bodies;
      t.push(queue, "k", 1);
    });
    REQUIRE(between.lost());
    CHECK(pushed.unknown());
    CHECK(bodies == 1);
    CHECK(c.queue_depth(line, {}).value().waiting == ++waiting);
  }
  // Before COMMIT nothing was done, so the body runs again.
  for (const ending& how : endings) {
    CAPTURE(how.severity, how.state);
    int bodies = 0;
    between.lose_next(how.severity, how.state, "begin");
    const auto before = hits.load().value();
    const auto added = postgres::atomically(c, [&](postgres::transaction& t) {
      ++bodies;
      return t.add(hits, 1);
    });
    REQUIRE(between.lost());
    CHECK(bodies == 2);
    CHECK(added.value_or(-1) == before + 1);
    CHECK(hits.load().value() == before + 1);
  }
}
