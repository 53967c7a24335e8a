// SPDX-License-Identifier: BSL-1.0
// What SQLite does for leases, keys, queues and mirrors, step by step, by a clock that is told.

#include <interlock/sqlite/client.hpp>
#include <interlock/sqlite/transaction.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "support/catch.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::fingerprint;
using interlock::mirror_version;
using store::errc;
using store::object_kind;
using store::operation_id;
using store::unique_id;

namespace {

struct told {
  std::shared_ptr<std::chrono::system_clock::time_point> now =
      std::make_shared<std::chrono::system_clock::time_point>(std::chrono::hours(500000));
  sqlite::client db{":memory:", {.retention = 1h}, {.clock = [now = now] { return *now; }}};
  void pass(std::chrono::milliseconds time) const { *now += time; }
  auto named(object_kind kind, const char* name = "it") const {
    return db.object_named(kind, name);
  }
  // Returns: what a statement counts.
  std::int64_t count(const char* sql) {
    return sqlite::atomically(db,
                              [&](sqlite::transaction& t) {
                                return t.execute(sql).get<std::int64_t>(0).value_or(-1);
                              })
        .value();
  }
};

const unique_id ann = unique_id::fresh();
const unique_id bob = unique_id::fresh();

}  // namespace

TEST_CASE("A lease of SQLite is one owner's until its end and its fences grow") {
  told e;
  const auto lock = e.named(object_kind::mutex);
  const std::uint64_t first = e.db.lease_acquire(lock, ann, 10s, {}).value().fence;
  CHECK(e.db.lease_acquire(lock, ann, 10s, {}).value().fence == first);
  e.pass(4s);
  const auto busy = e.db.lease_acquire(lock, bob, 10s, {});
  REQUIRE(busy.conflicted());
  CHECK(busy.conflict().remaining == 6s);
  CHECK(e.db.lease_renew(lock, ann, first, 10s, {}).applied());
  CHECK(e.db.lease_renew(lock, bob, first, 10s, {}).conflicted());
  e.pass(11s);
  CHECK(e.db.lease_renew(lock, ann, first, 10s, {}).applied());  // nobody took it
  e.pass(11s);
  const std::uint64_t second = e.db.lease_acquire(lock, bob, 10s, {}).value().fence;
  CHECK(first < second);
  CHECK(e.db.lease_renew(lock, ann, first, 10s, {}).conflicted());
  CHECK(e.db.lease_release(lock, ann, first, {}).conflicted());
  const auto raised = e.db.lease_raise(lock, bob, second, second + 100, {});
  CHECK(raised.value().fence == second + 101);
  CHECK(e.db.lease_raise(lock, bob, second + 101, 5, {}).value().fence == second + 101);
  CHECK(e.db.lease_raise(lock, ann, second, 5, {}).conflicted());
  CHECK(e.db.lease_release(lock, bob, second + 101, {}).applied());
  CHECK(e.db.lease_acquire(lock, ann, 10s, {}).value().fence > second + 101);
  SECTION("also where the clock went back") {
    const std::uint64_t before = e.db.lease_acquire(lock, ann, 10s, {}).value().fence;
    CHECK(e.db.lease_release(lock, ann, before, {}).applied());
    e.pass(-1h);
    CHECK(e.db.lease_acquire(lock, bob, 10s, {}).value().fence > before);
  }
  CHECK(e.db.lease_acquire(lock, ann, 0s, {}).error().code == errc::bad_argument);
}

TEST_CASE("A fenced resource of SQLite takes only the pair that opened it last") {
  told e;
  const auto door = e.named(object_kind::fenced);
  CHECK(!e.db.fenced_open(door, 7, ann, {}).value().bytes);
  CHECK(e.db.fenced_write(door, 7, ann, "a", {}).applied());
  CHECK(e.db.fenced_open(door, 7, bob, {}).conflict().watermark == 7);
  CHECK(e.db.fenced_open(door, 8, bob, {}).value().bytes == "a");
  CHECK(e.db.fenced_write(door, 7, ann, "late", {}).conflict().watermark == 8);
  CHECK(e.db.fenced_write(door, 8, ann, "late", {}).conflicted());
  CHECK(e.db.fenced_write(door, 8, bob, "", {}).applied());
  CHECK(e.db.fenced_open(door, 8, bob, {}).value().bytes == "");
  CHECK(e.db.fenced_open(door, UINT64_MAX, bob, {}).error().code == errc::bad_argument);
}

TEST_CASE("A key of an idempotency store of SQLite is run by one owner at a time") {
  told e;
  using state = store::idempotency_claim::state;
  const auto keys = e.named(object_kind::idempotency);
  const fingerprint print{42};
  const auto claim = [&](const unique_id& who, fingerprint as) {
    return e.db.idempotency_claim(keys, "k", as, who, 10s, {}).value();
  };
  CHECK(claim(ann, print).attempt == 1);
  CHECK(claim(ann, print).attempt == 1);
  CHECK(claim(bob, print).what == state::busy);
  CHECK(claim(bob, print).remaining == 10s);
  CHECK(claim(bob, fingerprint{1}).what == state::mismatch);
  e.pass(11s);
  CHECK(claim(bob, fingerprint{1}).what == state::mismatch);
  CHECK(claim(bob, print).attempt == 2);
  CHECK(e.db.idempotency_complete(keys, "k", ann, 1, "late", 1h, {}).conflicted());
  CHECK(e.db.idempotency_heartbeat(keys, "k", bob, 2, 10s, {}).applied());
  CHECK(e.db.idempotency_complete(keys, "k", bob, 2, "done", 1h, {}).applied());
  CHECK(e.db.idempotency_complete(keys, "k", bob, 2, "done", 1h, {}).applied());
  CHECK(e.db.idempotency_heartbeat(keys, "k", bob, 2, 10s, {}).conflicted());
  CHECK(claim(ann, print).what == state::done);
  CHECK(claim(ann, print).response == "done");
  CHECK(claim(ann, fingerprint{1}).what == state::mismatch);
  e.pass(2h);
  CHECK(claim(ann, fingerprint{1}).attempt == 3);
  CHECK(e.db.idempotency_release(keys, "k", ann, 3, {}).applied());
  CHECK(e.db.idempotency_release(keys, "k", ann, 3, {}).conflicted());
  CHECK(claim(ann, print).attempt == 4);
}

TEST_CASE("A queue of SQLite gives a key's items in order to one worker at a time") {
  told e;
  const auto line = e.named(object_kind::queue);
  const auto push = [&](const char* key, const char* text) {
    return e.db.queue_push(line, key, text, {}).value();
  };
  const auto take = [&](const unique_id& who) { return e.db.queue_take(line, who, 10s, 2, {}); };
  CHECK(push("a", "a1") == 1);
  CHECK(push("a", "a2") == 2);
  CHECK(push("b", "b1") == 1);
  const auto a1 = take(ann).value();
  CHECK((a1.key == "a" && a1.sequence == 1 && a1.tries == 1 && a1.payload == "a1"));
  const auto b1 = take(bob).value();
  CHECK(b1.key == "b");
  CHECK(take(bob).conflict().next == 10s);
  CHECK(e.db.queue_depth(line, {}).value().waiting == 3);
  CHECK(e.db.queue_depth(line, {}).value().taken == 2);
  CHECK(e.db.queue_finish(line, "b", ann, b1.attempt, {}).conflicted());
  CHECK(e.db.queue_finish(line, "b", bob, b1.attempt, {}).applied());
  CHECK(e.db.queue_finish(line, "b", bob, b1.attempt, {}).conflicted());

  SECTION("a lost worker's item is taken again and set aside in the end") {
    e.pass(11s);
    const auto again = take(bob).value();
    CHECK((again.payload == "a1" && again.tries == 2 && again.attempt > a1.attempt));
    CHECK(e.db.queue_finish(line, "a", ann, a1.attempt, {}).conflicted());
    CHECK(e.db.queue_heartbeat(line, "a", ann, a1.attempt, 10s, {}).conflicted());
    e.pass(5s);
    CHECK(e.db.queue_heartbeat(line, "a", bob, again.attempt, 10s, {}).applied());
    e.pass(9s);
    CHECK(take(ann).conflict().next == 1s);
    e.pass(2s);
    const auto a2 = take(ann).value();
    CHECK((a2.payload == "a2" && a2.tries == 1));
    const auto aside = e.db.queue_set_aside(line, 10, {}).value();
    REQUIRE(aside.size() == 1);
    CHECK((aside[0].payload == "a1" && aside[0].sequence == 1 && aside[0].tries == 2));
    CHECK(e.db.queue_depth(line, {}).value().set_aside == 1);
    CHECK(e.db.queue_restore(line, "a", 1, {}).value() == 3);
    CHECK(e.db.queue_restore(line, "a", 1, {}).conflicted());
    CHECK(e.db.queue_finish(line, "a", ann, a2.attempt, {}).applied());
    const auto restored = take(ann).value();
    CHECK((restored.payload == "a1" && restored.sequence == 3 && restored.tries == 1));
  }
  SECTION("one that is given back waits for its delay") {
    CHECK(e.db.queue_give_back(line, "a", ann, a1.attempt, 3s, {}).applied());
    CHECK(take(ann).conflict().next == 3s);
    e.pass(3s);
    CHECK(take(ann).value().payload == "a1");
  }
  SECTION("the last item that is set aside leaves an empty queue, and commits that") {
    e.pass(11s);
    CHECK(take(ann).applied());
    e.pass(11s);
    CHECK(take(ann).applied());
    CHECK(e.db.queue_finish(line, "a", ann, 3, {}).applied());
    CHECK(!take(ann).conflict().next);
    CHECK(e.db.queue_depth(line, {}).value().set_aside == 1);
    CHECK(e.db.queue_depth(line, {}).value().waiting == 0);
    CHECK(push("a", "a3") == 3);
    CHECK(take(ann).value().payload == "a3");
  }
  SECTION("keys that wait longest come first, also when the clock goes back") {
    push("c", "c1");
    push("d", "d1");
    e.pass(-1h);
    CHECK(take(bob).value().key == "c");
    CHECK(take(bob).value().key == "d");
  }
}

TEST_CASE("A mirror of SQLite keeps the newest version, deletions too") {
  told e;
  const auto copy = e.named(object_kind::mirror);
  const auto put = [&](mirror_version v, std::optional<std::string_view> bytes) {
    return e.db.mirror_put(copy, "k", v, bytes, {});
  };
  CHECK(!e.db.mirror_get(copy, "k", {}).value().version);
  CHECK(put({1, 5}, "five").applied());
  CHECK(put({1, 4}, "four").conflict().bytes == "five");
  CHECK(put({1, 5}, "five").conflicted());
  CHECK(put({1, 6}, std::nullopt).applied());
  CHECK(put({1, 5}, "five").conflict().version == mirror_version{1, 6});
  CHECK(!e.db.mirror_get(copy, "k", {}).value().bytes);
  CHECK(put({2, 1}, "anew").applied());
  CHECK(e.db.mirror_get(copy, "k", {}).value().bytes == "anew");
}

TEST_CASE("Each operation of SQLite is done once under its id, and its answer comes again") {
  told e;
  const auto twice = [](auto call) {
    const auto id = operation_id::fresh();
    const auto first = call(store::call_options{.id = id});
    const auto again = call(store::call_options{.id = id});
    CHECK(first.applied());
    CHECK(again.applied());
    return std::pair(first.value(), again.value());
  };
  const auto same = [&](auto call) {
    const auto [first, again] = twice(call);
    CHECK(first == again);
  };
  const auto of = [&](object_kind kind) { return e.named(kind); };
  same([&](auto c) { return e.db.counter_add(of(object_kind::counter), 3, c); });
  same([&](auto c) { return e.db.counter_exchange(of(object_kind::counter), 9, c); });
  CHECK(e.db.counter_load(of(object_kind::counter), {}).value() == 9);
  const auto stock = of(object_kind::bounded_counter);
  twice([&](auto c) { return e.db.bounded_open(stock, {1, 0, 1}, c); });
  same([&](auto c) { return e.db.bounded_add(stock, -1, c); });
  const auto cell = of(object_kind::cell);
  same([&](auto c) { return e.db.cell_put(cell, 0, "x", c); });
  const store::cell_write<sqlite::client::object> write{&cell, "y"};
  same([&](auto c) { return e.db.cells_commit({}, {&write, 1}, c); });
  const auto lock = of(object_kind::mutex);
  const auto grants = twice([&](auto c) { return e.db.lease_acquire(lock, ann, 1s, c); });
  CHECK(grants.first.fence == grants.second.fence);
  same([&](auto c) { return e.db.lease_release(lock, ann, grants.first.fence, c); });
  const auto door = of(object_kind::fenced);
  e.db.fenced_open(door, 1, ann, {}).value();
  e.db.fenced_write(door, 1, ann, "z", {}).value();
  const auto opened = twice([&](auto c) { return e.db.fenced_open(door, 2, ann, c); });
  CHECK((opened.first.bytes == "z" && opened.second.bytes == "z"));
  const auto keys = of(object_kind::idempotency);
  const auto claims =
      twice([&](auto c) { return e.db.idempotency_claim(keys, "k", fingerprint{1}, ann, 1s, c); });
  CHECK((claims.first.attempt == 1 && claims.second.attempt == 1));
  same([&](auto c) { return e.db.idempotency_release(keys, "k", ann, 1, c); });
  const auto line = of(object_kind::queue);
  same([&](auto c) { return e.db.queue_push(line, "k", "p", c); });
  const auto items = twice([&](auto c) { return e.db.queue_take(line, ann, 1s, 5, c); });
  CHECK((items.second.payload == "p" && items.second.key == "k" && items.second.sequence == 1));
  CHECK(items.first.attempt == items.second.attempt);
  same([&](auto c) { return e.db.queue_finish(line, "k", ann, items.first.attempt, c); });
  same([&](auto c) { return e.db.mirror_put(of(object_kind::mirror), "k", {1, 1}, "m", c); });

  const auto id = operation_id::fresh();
  CHECK(e.db.counter_add(of(object_kind::counter), 1, {.id = id}).applied());
  const auto mixed = e.db.counter_exchange(of(object_kind::counter), 1, {.id = id});
  CHECK(mixed.error().code == errc::bad_argument);
  CHECK(e.db.counter_add(of(object_kind::counter), 1, {.id = {id.session, 9}}).applied());
  CHECK(e.db.counter_add(of(object_kind::counter), 1, {.id = id}).error().code == errc::expired);
}

TEST_CASE("What SQLite keeps for ids and keys that nobody asks for any more goes away") {
  told e;
  const auto hits = e.named(object_kind::counter);
  const auto keys = e.named(object_kind::idempotency);
  const auto some = [&](const std::string& round) {
    for (int i = 0; i < 400; ++i) {
      e.db.counter_add(hits, 1, {.id = operation_id::fresh()}).value();
      const std::string key = round + std::to_string(i);
      const auto mine = e.db.idempotency_claim(keys, key, fingerprint{1}, ann, 1s, {}).value();
      if (i % 2 == 0) {
        e.db.idempotency_complete(keys, key, ann, mine.attempt, "r", 1min, {}).value();
      }
    }
  };
  some("a");
  CHECK(e.count("SELECT count(*) FROM interlock_answer") == 400);
  CHECK(e.count("SELECT count(*) FROM interlock_claim") == 400);
  e.pass(2h);
  some("b");
  CHECK(e.count("SELECT count(*) FROM interlock_answer") < 600);
  CHECK(e.count("SELECT count(*) FROM interlock_claim") < 600);
  CHECK(e.count("SELECT count(*) FROM interlock_answer") >= 400);  // none that is young
  CHECK(e.count("SELECT count(*) FROM interlock_claim") >= 400);
}

TEST_CASE("A key of SQLite whose answer was forgotten goes on counting attempts") {
  told e;
  const auto keys = e.named(object_kind::idempotency);
  const auto claim = [&](const std::string& key) {
    return e.db.idempotency_claim(keys, key, fingerprint{1}, ann, 1s, {}).value().attempt;
  };
  CHECK(claim("k") == 1);
  CHECK(e.db.idempotency_release(keys, "k", ann, 1, {}).applied());
  CHECK(claim("k") == 2);
  CHECK(e.db.idempotency_complete(keys, "k", ann, 2, "done", 1h, {}).applied());
  e.pass(90min);
  for (int i = 0; i < 400; ++i) claim(std::to_string(i));
  CHECK(claim("k") == 3);
}

TEST_CASE("SQLite remembers ids for a retention that has no end") {
  sqlite::client db(":memory:", {.retention = std::chrono::milliseconds::max()});
  const auto hits = db.object_named(object_kind::counter, "hits");
  const auto keys = db.object_named(object_kind::idempotency, "keys");
  const auto id = operation_id::fresh();
  const auto claim = [&](const std::string& key) {
    return db.idempotency_claim(keys, key, fingerprint{1}, ann, 1s, {}).value().attempt;
  };
  CHECK(db.counter_add(hits, 1, {.id = id}).value() == 1);
  CHECK(claim("k") == 1);
  CHECK(db.idempotency_release(keys, "k", ann, 1, {}).applied());
  for (int i = 0; i < 300; ++i) {
    db.counter_add(hits, 1, {.id = operation_id::fresh()}).value();
    claim(std::to_string(i));
  }
  CHECK(db.counter_add(hits, 1, {.id = id}).value() == 1);
  CHECK(db.counter_load(hits, {}).value() == 301);
  CHECK(claim("k") == 2);
}

TEST_CASE("SQLite remembers an id that is asked for again now and then") {
  told e;
  const auto hits = e.named(object_kind::counter);
  const auto id = operation_id::fresh();
  for (int round = 0; round < 6; ++round) {
    CHECK(e.db.counter_add(hits, 1, {.id = id}).value() == 1);
    for (int i = 0; i < 300; ++i) {
      e.db.counter_add(hits, 1, {.id = operation_id::fresh()}).value();
    }
    e.pass(40min);
  }
}
