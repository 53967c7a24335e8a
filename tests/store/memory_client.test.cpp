// SPDX-License-Identifier: BSL-1.0
// The engine in memory: what it does once, what it refuses, and what goes wrong on demand.

#include <interlock/memory/client.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace memory = interlock::memory;
namespace store = interlock::store;
using namespace std::chrono_literals;
using store::errc;
using store::object_kind;
using store::operation_id;
using store::unique_id;

namespace {

auto counter_of(const memory::client& c, const char* name = "hits") {
  return c.object_named(object_kind::counter, name);
}
// Loses the reply of the n-th request and no other.
memory::faults lose_reply_of(std::uint64_t n) {
  return memory::faults([n](const memory::request& r) {
    return r.number == n && r.done ? memory::fault::lose_reply() : memory::fault::none();
  });
}

}  // namespace

TEST_CASE("An operation that was asked for twice under one id is done once") {
  memory::client c;
  const auto hits = counter_of(c);
  c.inject(lose_reply_of(1));
  const auto id = operation_id::fresh();
  const auto first = c.counter_add(hits, 5, {id});
  REQUIRE(first.unknown());
  CHECK(first.id() == id);
  CHECK(*c.counter_add(hits, 5, {id}) == 5);
  CHECK(*c.counter_load(hits, {}) == 5);
  CHECK(c.counter_add(hits, 5, {first.id()}).value() == 5);
  // another operation under that id would be given the wrong answer
  const auto other = c.counter_exchange(hits, 1, {id});
  REQUIRE(other.refused());
  CHECK(other.error().code == interlock::store::errc::bad_argument);
  CHECK(*c.counter_load(hits, {}) == 5);
  const auto cell = c.object_named(object_kind::cell, "hits");
  CHECK(c.cell_put(cell, {}, "x", {id}).applied());  // another object: its own ids

  // The control: without an id, it is done twice.
  memory::client naive;
  const auto lost = counter_of(naive);
  naive.inject(lose_reply_of(1));
  CHECK(naive.counter_add(lost, 5, {}).unknown());
  CHECK(*naive.counter_add(lost, 5, {}) == 10);
}

TEST_CASE("An id that is older than its session is refused as expired") {
  memory::client c;
  const auto hits = counter_of(c);
  store::operation_session mine;
  const auto first = mine.next();
  const auto second = mine.next();
  CHECK(c.counter_add(hits, 1, {first}).applied());
  CHECK(c.counter_add(hits, 1, {second}).applied());
  CHECK(c.counter_add(hits, 1, {first}).error().code == errc::expired);
  CHECK(*c.counter_load(hits, {}) == 2);
}

TEST_CASE("A session that is silent for the retention is forgotten") {
  const auto time = std::make_shared<memory::manual_clock>();
  memory::client c({.retention = 1h}, {.clock = time});
  const auto hits = counter_of(c);
  const auto id = operation_id::fresh();
  CHECK(*c.counter_add(hits, 1, {id}) == 1);
  time->advance(59min);
  CHECK(*c.counter_add(hits, 1, {id}) == 1);
  time->advance(61min);
  CHECK(*c.counter_add(hits, 1, {id}) == 2);  // which is why retention is long
}

TEST_CASE("A claim that found its key busy is made anew under its id") {
  memory::client c;
  using state = store::idempotency_claim::state;
  const auto keys = c.object_named(object_kind::idempotency, "keys");
  const auto a = unique_id::fresh();
  const auto b = unique_id::fresh();
  const auto id = operation_id::fresh();
  const auto claim = [&](const unique_id& who, operation_id as) {
    return c.idempotency_claim(keys, "k", interlock::fingerprint{1}, who, 10s, {as})->what;
  };
  CHECK(claim(a, {}) == state::claimed);
  CHECK(claim(b, id) == state::busy);
  CHECK(c.idempotency_release(keys, "k", a, 1, {}).applied());
  CHECK(claim(b, id) == state::claimed);
  CHECK(c.idempotency_release(keys, "k", b, 2, {}).applied());
  CHECK(claim(b, id) == state::claimed);  // as it was answered
  CHECK(c.idempotency_heartbeat(keys, "k", b, 2, 10s, {}).conflicted());
}

TEST_CASE("Times that have no end are a century of an engine in memory") {
  constexpr auto always = std::chrono::milliseconds::max();
  const auto time = std::make_shared<memory::manual_clock>();
  memory::client c({.retention = always}, {.clock = time});
  const auto a = unique_id::fresh();
  const auto b = unique_id::fresh();
  const auto hits = counter_of(c);
  const auto id = operation_id::fresh();
  CHECK(*c.counter_add(hits, 1, {id}) == 1);
  time->advance(1h);
  CHECK(*c.counter_add(hits, 1, {operation_id::fresh()}) == 2);
  CHECK(*c.counter_add(hits, 1, {id}) == 1);

  using state = store::idempotency_claim::state;
  const auto keys = c.object_named(object_kind::idempotency, "keys");
  const auto claim = [&](const unique_id& who, const char* key) {
    return c.idempotency_claim(keys, key, interlock::fingerprint{1}, who, always, {})->what;
  };
  CHECK(claim(a, "kept") == state::claimed);
  CHECK(c.idempotency_complete(keys, "kept", a, 1, "r", always, {}).applied());
  CHECK(claim(a, "held") == state::claimed);
  const auto lock = c.object_named(object_kind::mutex, "lock");
  CHECK(c.lease_acquire(lock, a, always, {}).applied());
  const auto line = c.object_named(object_kind::queue, "line");
  c.queue_push(line, "k", "late", {}).value();
  CHECK(c.queue_take(line, a, always, 9, {})->payload == "late");
  time->advance(1h);
  CHECK(claim(b, "kept") == state::done);
  CHECK(claim(b, "held") == state::busy);
  CHECK(c.lease_acquire(lock, b, 1s, {}).conflicted());
  CHECK(c.queue_take(line, b, 1s, 9, {}).conflicted());
  CHECK(c.queue_give_back(line, "k", a, 1, always, {}).applied());
  CHECK(c.queue_take(line, b, 1s, 9, {}).conflicted());
}

TEST_CASE("After its data is lost a client is refused until it accepts that") {
  memory::client c;
  memory::client other = c.beside();
  const auto hits = counter_of(c);
  const std::string before = c.incarnation();
  CHECK(c.counter_add(hits, 5, {}).applied());
  other.lose_history();
  CHECK(c.counter_load(hits, {}).error().code == errc::history_lost);
  CHECK(c.counter_add(hits, 5, {}).error().code == errc::history_lost);
  CHECK(other.counter_load(hits, {}).refused());
  c.accept_history();
  CHECK(*c.counter_load(hits, {}) == 0);
  CHECK(c.incarnation() != before);
}

TEST_CASE("Clients beside each other share data under one prefix and under others none") {
  memory::client one;
  memory::client two = one.beside();
  memory::client apart = one.beside({.prefix = "other"});
  CHECK(one.counter_add(counter_of(one), 5, {}).applied());
  CHECK(*two.counter_load(counter_of(two), {}) == 5);
  CHECK(*apart.counter_load(counter_of(apart), {}) == 0);
  CHECK(counter_of(one, "a/b").name() == "a/b");
}

TEST_CASE("A dropped request is refused and has no effect") {
  memory::client c;
  const auto hits = counter_of(c);
  c.inject(memory::faults([](const memory::request& r) {
    return r.writes && !r.done ? memory::fault::drop() : memory::fault::none();
  }));
  const auto said = c.counter_add(hits, 5, {});
  CHECK(said.refused());
  CHECK(said.error().code == errc::not_connected);
  CHECK(said.error().operation == "counter.add");
  CHECK(said.error().object == "hits");
  CHECK(*c.counter_load(hits, {}) == 0);
}

TEST_CASE("A lost reply is unknown and has its effect") {
  memory::client c;
  const auto hits = counter_of(c);
  c.inject(lose_reply_of(1));
  CHECK(c.counter_add(hits, 5, {}).unknown());
  CHECK(*c.counter_load(hits, {}) == 5);
  c.inject(lose_reply_of(3));
  CHECK(c.counter_load(hits, {}).refused());  // a read has nothing to be in doubt about
}

TEST_CASE("A delay longer than the timeout is refused before the request and unknown after it") {
  const auto time = std::make_shared<memory::manual_clock>();
  memory::client c({.timeout = 100ms}, {.clock = time});
  const auto hits = counter_of(c);
  bool late_reply = false;
  c.inject(memory::faults([&](const memory::request& r) {
    return r.done == late_reply ? memory::fault::delay(150ms) : memory::fault::none();
  }));
  const auto began = time->now();
  CHECK(c.counter_add(hits, 5, {}).error().code == errc::timed_out);
  CHECK(time->now() - began == 100ms);
  late_reply = true;
  const auto said = c.counter_add(hits, 5, {});
  CHECK(said.unknown());
  CHECK(said.error().code == errc::timed_out);
  CHECK(c.counter_add(hits, 5, {{}, 200ms}).applied());
  c.inject({});
  CHECK(*c.counter_load(hits, {}) == 10);
  CHECK(c.counter_load(hits, {{}, -1ms}).error().code == errc::timed_out);
}

TEST_CASE("Faults from one seed are the same each time") {
  const auto seen = [](std::uint64_t seed) {
    memory::client c;
    const auto hits = counter_of(c);
    c.inject(memory::faults::seeded(seed, {.drop = 100, .lose_reply = 100}));
    std::vector<int> all;
    for (int i = 0; i < 300; ++i)
      all.push_back(static_cast<int>(c.counter_add(hits, 1, {}).status()));
    return all;
  };
  CHECK(seen(1) == seen(1));
  CHECK(seen(1) != seen(2));
}

TEST_CASE("A manual clock goes on when it is told to and never otherwise") {
  memory::manual_clock time;
  const auto began = time.now();
  CHECK(time.now() == began);
  time.advance(5s);
  CHECK(time.now() - began == 5s);
}

TEST_CASE("Leases of a client with a manual clock end by that clock") {
  const auto time = std::make_shared<memory::manual_clock>();
  memory::client c({}, {.clock = time});
  const auto lock = c.object_named(object_kind::mutex, "lock");
  const auto a = unique_id::fresh();
  const auto b = unique_id::fresh();
  CHECK(c.lease_acquire(lock, a, 10s, {})->fence == 1);
  CHECK(c.lease_acquire(lock, a, 10s, {})->fence == 1);
  time->advance(9s);
  CHECK(c.lease_acquire(lock, b, 10s, {}).conflict().remaining == 1s);
  time->advance(1s);
  CHECK(c.lease_renew(lock, a, 1, 10s, {}).applied());  // nobody has taken it
  time->advance(10s);
  CHECK(c.lease_acquire(lock, b, 10s, {})->fence == 2);
  CHECK(c.lease_renew(lock, a, 1, 10s, {}).conflicted());
  CHECK(c.lease_release(lock, a, 1, {}).conflicted());
  c.shift_clock(-10min);  // somebody sets the server's clock
  CHECK(c.lease_acquire(lock, a, 10s, {}).conflict().remaining == 10min + 10s);
}

TEST_CASE("Bad arguments of an engine in memory are refused with a remedy") {
  CHECK_THROWS_AS(memory::client({.prefix = "a:b"}), store::failure);
  CHECK_THROWS_AS(memory::client({.require = {{store::visibility::network}}}), store::failure);
  memory::client c({.max_value_bytes = 3});
  CHECK_THROWS_AS(c.object_named(object_kind::cell, ""), store::failure);
  CHECK_THROWS_AS(c.object_named(object_kind::cell, std::string(513, 'x')), store::failure);
  const auto cell = c.object_named(object_kind::cell, "x");
  CHECK(c.cell_put(cell, {}, "four", {}).error().code == errc::too_large);
  const auto hits = counter_of(c);
  CHECK(c.counter_add(hits, INT64_MAX, {}).applied());
  CHECK(c.counter_add(hits, 1, {}).error().code == errc::bad_argument);
  const auto limit = c.object_named(object_kind::bounded_counter, "seats");
  CHECK(c.bounded_add(limit, 1, {}).error().code == errc::wrong_kind);
  CHECK(c.bounded_open(limit, {1, 0, 3}, {}).applied());
  CHECK(c.bounded_open(limit, {1, 0, 4}, {}).error().code == errc::wrong_kind);
  CHECK(c.bounded_add(limit, 3, {}).conflict().value == 1);
}
