// SPDX-License-Identifier: BSL-1.0
// The scripts of Redis: every protocol, at the edges of numbers and with any bytes in names; over
// redis::client, and over an executor of a program's own.

#include <interlock/redis/client.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace redis = interlock::redis;
namespace store = interlock::store;
using interlock::testing::throwaway_redis;
using namespace std::chrono_literals;
using store::errc;
using store::object_kind;
using store::operation_id;
using store::unique_id;

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
const std::string odd_bytes("a:b}{\r\n\0\xff\x80 %", 13);

// An executor of another kind than ours: redis::value, from one connection; loses what it is told.
class plain_executor {
public:
  enum class fault { none, not_sent, unanswered };

  explicit plain_executor(const std::string& url)
      : state_(std::make_shared<state>(redis::detail::parse_url(url))) {}

  void next(fault what) { state_->next = what; }

  redis::value execute(std::span<const std::string_view> command,
                       std::chrono::steady_clock::time_point deadline) {
    const fault now = std::exchange(state_->next, fault::none);
    if (now == fault::not_sent) return redis::value::not_sent("dropped on demand");
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const auto answer = state_->connection.execute(command, store::detail::call_deadline(left));
    if (now == fault::unanswered) return redis::value::unanswered("lost on demand");
    if (answer.kind() == redis::value_kind::list) return list(answer);
    return one(answer);
  }

private:
  struct state {
    explicit state(const redis::detail::address& to)
        : connection(redisConnectUnix(to.path.c_str()), false) {}
    redis::detail::connection connection;
    fault next = fault::none;
  };
  template <class Part>
  static redis::value one(const Part& part) {
    switch (part.kind()) {
      case redis::value_kind::integer:
        return redis::value::of(part.integer());
      case redis::value_kind::bytes:
        return redis::value::of(std::string(part.text()));
      case redis::value_kind::error:
        return redis::value::error(std::string(part.text()));
      default:
        return {};
    }
  }
  template <class Answer>
  static redis::value list(const Answer& answer) {
    std::vector<redis::value> items;
    for (std::size_t i = 0; i < answer.size(); ++i) items.push_back(one(answer.at(i)));
    return redis::value::of(std::move(items));
  }

  std::shared_ptr<state> state_;
};
static_assert(redis::command_executor<plain_executor>);
static_assert(store::engine<redis::basic_client<plain_executor>>);

template <class E>
void counters(E& c) {
  const auto n = c.object_named(object_kind::counter, odd_bytes);
  const auto id = [] { return store::call_options{operation_id::fresh()}; };
  CHECK(c.counter_load(n, {}).value() == 0);
  CHECK(c.counter_add(n, 0, {}).value() == 0);
  for (const bool with_id : {false, true}) {
    const auto call = [&] { return with_id ? id() : store::call_options(); };
    for (const std::int64_t start :
         {std::int64_t{0}, most, least, most - 1, least + 1, std::int64_t{9'999'999'999},
          std::int64_t{-10'000'000'000}, std::int64_t{9'007'199'254'740'993}}) {
      for (const std::int64_t by : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1},
                                    std::int64_t{10'000'000'000}, std::int64_t{-9'999'999'999},
                                    most, least, -most, std::int64_t{123'456'789'012'345'678}}) {
        CAPTURE(with_id, start, by);
        REQUIRE(c.counter_exchange(n, start, {}).applied());
        std::int64_t sum = 0;
        const bool fits = !__builtin_add_overflow(start, by, &sum);
        const auto now = c.counter_add(n, by, call());
        if (fits) {
          CHECK(now.value_or(7) == sum);
        } else {
          REQUIRE(now.refused());
          CHECK(now.error().code == errc::bad_argument);
        }
        CHECK(c.counter_load(n, {}).value() == (fits ? sum : start));
      }
    }
  }
  CHECK(c.counter_exchange(n, least, {}).applied());
  CHECK(c.counter_exchange(n, 5, {}).value() == least);

  // The last request of a session is remembered, one before it is not, another's is its own.
  store::operation_session session;
  const auto first = session.next();
  const auto second = session.next();
  CHECK(c.counter_add(n, 1, {first}).value() == 6);
  CHECK(c.counter_add(n, 1, {first}).value() == 6);
  CHECK(c.counter_add(n, 1, {second}).value() == 7);
  CHECK(c.counter_add(n, 1, {first}).error().code == errc::expired);
  CHECK(c.counter_exchange(n, 1, {second}).error().code == errc::bad_argument);
  const operation_id late{second.session, 9'223'372'036'854'775'807U};
  CHECK(c.counter_add(n, 1, {late}).value() == 8);
  CHECK(c.counter_add(n, 1, {operation_id{second.session, 9'223'372'036'854'775'806U}})
            .error()
            .code == errc::expired);
}

template <class E>
void bounded_counters(E& c) {
  const auto b = c.object_named(object_kind::bounded_counter, odd_bytes);
  CHECK(c.bounded_load(b, {}).error().code == errc::wrong_kind);
  CHECK(c.bounded_add(b, 1, {}).error().code == errc::wrong_kind);
  CHECK(c.bounded_open(b, {5, 6, 7}, {}).error().code == errc::bad_argument);
  CHECK(c.bounded_open(b, {most - 1, least, most}, {})->value == most - 1);
  CHECK(c.bounded_open(b, {0, least, most}, {})->value == most - 1);
  CHECK(c.bounded_open(b, {0, 0, most}, {}).error().code == errc::wrong_kind);
  CHECK(c.bounded_add(b, 1, {}).value() == most);
  const auto over = c.bounded_add(b, 1, {});
  REQUIRE(over.conflicted());
  CHECK(over.conflict().value == most);
  CHECK(over.conflict().low == least);
  CHECK(over.conflict().high == most);
  CHECK(c.bounded_add(b, least, {}).value() == -1);
  CHECK(c.bounded_add(b, least, {}).conflicted());
  CHECK(c.bounded_add(b, -most, {}).value() == least);
  CHECK(c.bounded_add(b, -1, {}).conflicted());
  CHECK(c.bounded_load(b, {})->value == least);
  const auto id = operation_id::fresh();
  CHECK(c.bounded_add(b, most, {id}).value() == -1);
  CHECK(c.bounded_add(b, most, {id}).value() == -1);
}

template <class E>
void cells(E& c) {
  const auto x = c.object_named(object_kind::cell, odd_bytes);
  const auto y = c.object_named(object_kind::cell, "y");
  CHECK(c.cell_load(x, {}).value() == store::cell_state{});
  CHECK(c.cell_put(x, 1, "", {}).conflict() == store::cell_state{});
  const auto one = c.cell_put(x, 0, odd_bytes, {}).value();
  CHECK(c.cell_load(x, {}).value() == store::cell_state{one, odd_bytes});
  const auto stale = c.cell_put(x, 0, "z", {});
  REQUIRE(stale.conflicted());
  CHECK(stale.conflict() == store::cell_state{one, odd_bytes});
  const auto two = c.cell_put(x, one, std::nullopt, {}).value();
  CHECK(two > one);
  CHECK(c.cell_load(x, {}).value() == store::cell_state{two, std::nullopt});
  const auto id = operation_id::fresh();
  const auto three = c.cell_put(x, two, "", {id}).value();
  CHECK(c.cell_put(x, two, "", {id}).value() == three);
  CHECK(c.cell_load(x, {}).value() == store::cell_state{three, ""});

  using object = typename E::object;
  const std::array<const object*, 3> all{&x, &y, &x};
  const auto states = c.cells_load(all, {}).value();
  REQUIRE(states.size() == 3);
  CHECK(states[0].version == three);
  CHECK(states[1] == store::cell_state{});
  CHECK(states[2] == states[0]);
  CHECK(c.cells_load({}, {})->empty());

  const std::array<store::cell_check<object>, 2> checks{{{&x, three}, {&y, 0}}};
  const std::array<store::cell_write<object>, 2> writes{{{&y, "new"}, {&x, std::nullopt}}};
  const auto together = c.cells_commit(checks, writes, {}).value();
  CHECK(c.cell_load(x, {}).value() == store::cell_state{together, std::nullopt});
  CHECK(c.cell_load(y, {}).value() == store::cell_state{together, "new"});
  const auto lost = c.cells_commit(checks, writes, {});
  REQUIRE(lost.conflicted());
  CHECK(lost.conflict().index == 0);
  CHECK(lost.conflict().now.version == together);
  const std::array<store::cell_check<object>, 2> second{{{&x, together}, {&y, 3}}};
  const auto other = c.cells_commit(second, writes, {});
  REQUIRE(other.conflicted());
  CHECK(other.conflict().index == 1);
  CHECK(other.conflict().now == store::cell_state{together, "new"});
  CHECK(c.cells_commit(second, {}, {}).conflicted());
  CHECK(c.cells_commit(std::span(second).first(1), {}, {}).applied());
  CHECK(c.cells_commit({}, {}, {}).applied());
  CHECK(c.cell_load(y, {})->version == together);
}

template <class E>
void mutexes(E& c) {
  const auto m = c.object_named(object_kind::mutex, odd_bytes);
  const auto a = unique_id::fresh();
  const auto b = unique_id::fresh();
  const auto first = c.lease_acquire(m, a, 1h, {}).value().fence;
  CHECK(c.lease_acquire(m, a, 1h, {})->fence == first);
  const auto busy = c.lease_acquire(m, b, 1h, {});
  REQUIRE(busy.conflicted());
  CHECK(busy.conflict().remaining > 59min);
  CHECK(busy.conflict().remaining <= 1h);
  CHECK(c.lease_renew(m, b, first, 1h, {}).conflicted());
  CHECK(c.lease_renew(m, a, first + 1, 1h, {}).conflicted());
  CHECK(c.lease_renew(m, a, first, 1ms, {}).applied());
  std::this_thread::sleep_for(5ms);
  CHECK(c.lease_renew(m, a, first, 1ms, {}).applied());  // nobody has taken it
  std::this_thread::sleep_for(5ms);
  const auto second = c.lease_acquire(m, b, 1h, {}).value().fence;
  CHECK(second > first);
  CHECK(c.lease_renew(m, a, first, 1h, {}).conflicted());
  CHECK(c.lease_release(m, a, first, {}).conflicted());
  // Above all fences that 64 bits hold but one.
  CHECK(c.lease_raise(m, b, second, second - 1, {})->fence == second);
  CHECK(c.lease_raise(m, b, second, huge - 2, {})->fence == huge - 1);
  CHECK(c.lease_raise(m, b, second, huge - 2, {})->fence == huge - 1);  // asked again
  CHECK(c.lease_raise(m, a, second, 1, {}).conflicted());
  CHECK(c.lease_raise(m, b, huge - 1, huge, {}).error().code == errc::bad_argument);
  CHECK(c.lease_release(m, b, huge - 1, {}).applied());
  CHECK(c.lease_release(m, b, huge - 1, {}).conflicted());
  CHECK(c.lease_acquire(m, a, 1h, {})->fence == huge);

  const auto r = c.object_named(object_kind::fenced, odd_bytes);
  CHECK(c.fenced_write(r, 5, a, "x", {}).conflict().watermark == 0);
  CHECK_FALSE(c.fenced_open(r, 9'007'199'254'740'992, a, {})->bytes);
  CHECK(c.fenced_write(r, 9'007'199'254'740'992, a, odd_bytes, {}).applied());
  CHECK(c.fenced_open(r, 9'007'199'254'740'992, b, {}).conflicted());
  CHECK(c.fenced_open(r, 9'007'199'254'740'993, b, {})->bytes == odd_bytes);
  const auto stale = c.fenced_write(r, 9'007'199'254'740'992, a, "late", {});
  REQUIRE(stale.conflicted());
  CHECK(stale.conflict().watermark == 9'007'199'254'740'993);
  CHECK(c.fenced_open(r, huge, a, {}).applied());
  CHECK(c.fenced_open(r, 9, a, {}).conflict().watermark == huge);
  CHECK(c.fenced_write(r, 9'007'199'254'740'993, b, "late", {}).conflicted());
  CHECK(c.fenced_open(r, huge, a, {})->bytes == odd_bytes);
}

template <class E>
void idempotency_stores(E& c) {
  using state = store::idempotency_claim::state;
  const auto s = c.object_named(object_kind::idempotency, odd_bytes);
  const auto a = unique_id::fresh();
  const auto b = unique_id::fresh();
  const auto print = interlock::fingerprint{huge};
  const auto other = interlock::fingerprint{huge - 1};
  const auto what = [&](const auto& outcome) { return outcome.value().what; };
  CHECK(c.idempotency_claim(s, "k", print, a, 1h, {})->attempt == 1);
  CHECK(c.idempotency_claim(s, "k", print, a, 1h, {})->attempt == 1);
  const auto busy = c.idempotency_claim(s, "k", print, b, 1h, {}).value();
  CHECK(busy.what == state::busy);
  CHECK(busy.remaining > 59min);
  CHECK(what(c.idempotency_claim(s, "k", other, b, 1h, {})) == state::mismatch);
  CHECK(c.idempotency_heartbeat(s, "k", a, 1, 1ms, {}).applied());
  std::this_thread::sleep_for(5ms);
  const auto taken = c.idempotency_claim(s, "k", print, b, 1h, {}).value();
  CHECK(taken.what == state::claimed);
  CHECK(taken.attempt == 2);
  CHECK(c.idempotency_complete(s, "k", a, 1, "late", 1h, {}).conflicted());
  CHECK(c.idempotency_heartbeat(s, "k", a, 1, 1h, {}).conflicted());
  CHECK(c.idempotency_release(s, "k", a, 1, {}).conflicted());
  CHECK(c.idempotency_release(s, "k", b, 2, {}).applied());
  CHECK(c.idempotency_complete(s, "k", b, 2, "late", 1h, {}).conflicted());
  CHECK(c.idempotency_claim(s, "k", other, a, 1h, {})->attempt == 3);  // free, for whatever
  CHECK(c.idempotency_complete(s, "k", a, 3, odd_bytes, 20ms, {}).applied());
  CHECK(c.idempotency_complete(s, "k", a, 3, odd_bytes, 20ms, {}).applied());
  const auto done = c.idempotency_claim(s, "k", other, b, 1h, {}).value();
  if (done.what == state::done) CHECK(done.response == odd_bytes);
  std::this_thread::sleep_for(30ms);
  const auto anew = c.idempotency_claim(s, "k", print, b, 1h, {}).value();
  CHECK(anew.what == state::claimed);
  CHECK(anew.attempt == 4);
  // Names and keys with colons are not taken for one another.
  const auto ab = c.object_named(object_kind::idempotency, "a:b");
  const auto a_ = c.object_named(object_kind::idempotency, "a");
  CHECK(what(c.idempotency_claim(ab, "c", print, a, 1h, {})) == state::claimed);
  CHECK(what(c.idempotency_claim(a_, "b:c", other, b, 1h, {})) == state::claimed);
}

template <class E>
void queues(E& c) {
  const auto q = c.object_named(object_kind::queue, odd_bytes);
  const auto a = unique_id::fresh();
  const auto b = unique_id::fresh();
  CHECK_FALSE(c.queue_take(q, a, 1h, 3, {}).conflict().next);
  CHECK(c.queue_push(q, "x", "x1", {}).value() == 1);
  CHECK(c.queue_push(q, "x", "x2", {}).value() == 2);
  CHECK(c.queue_push(q, odd_bytes, odd_bytes, {}).value() == 1);
  const auto one = c.queue_take(q, a, 1h, 3, {}).value();
  CHECK((one.key == "x" && one.sequence == 1 && one.tries == 1 && one.payload == "x1"));
  const auto two = c.queue_take(q, b, 1h, 3, {}).value();
  CHECK((two.key == odd_bytes && two.sequence == 1 && two.payload == odd_bytes));
  const auto idle = c.queue_take(q, b, 1h, 3, {}).conflict().next;
  REQUIRE(idle);
  CHECK((*idle > 59min && *idle <= 1h));
  CHECK(c.queue_depth(q, {})->waiting == 3);
  CHECK(c.queue_depth(q, {})->taken == 2);
  CHECK(c.queue_finish(q, "x", b, one.attempt, {}).conflicted());
  CHECK(c.queue_finish(q, "x", a, one.attempt + 1, {}).conflicted());
  CHECK(c.queue_finish(q, "y", a, one.attempt, {}).conflicted());
  CHECK(c.queue_finish(q, odd_bytes, b, two.attempt, {}).applied());
  CHECK(c.queue_finish(q, odd_bytes, b, two.attempt, {}).conflicted());

  // A lease that ends: the owner may still finish until another has taken it.
  CHECK(c.queue_heartbeat(q, "x", a, one.attempt, 1ms, {}).applied());
  std::this_thread::sleep_for(5ms);
  CHECK(c.queue_heartbeat(q, "x", a, one.attempt, 1ms, {}).applied());
  std::this_thread::sleep_for(5ms);
  const auto again = c.queue_take(q, b, 1h, 3, {}).value();
  CHECK((again.key == "x" && again.sequence == 1 && again.tries == 2));
  CHECK(again.attempt > one.attempt);
  CHECK(c.queue_finish(q, "x", a, one.attempt, {}).conflicted());
  CHECK(c.queue_give_back(q, "x", b, again.attempt, 10ms, {}).applied());
  CHECK(c.queue_give_back(q, "x", b, again.attempt, 10ms, {}).conflicted());
  std::this_thread::sleep_for(15ms);
  const auto third = c.queue_take(q, a, 1h, 3, {}).value();
  CHECK(third.tries == 3);
  CHECK(c.queue_give_back(q, "x", a, third.attempt, 0ms, {}).applied());
  // It failed three times: set aside, and the key goes on.
  const auto next = c.queue_take(q, a, 1h, 3, {}).value();
  CHECK((next.key == "x" && next.sequence == 2 && next.tries == 1 && next.payload == "x2"));
  const auto aside = c.queue_set_aside(q, 10, {}).value();
  REQUIRE(aside.size() == 1);
  CHECK((aside[0].key == "x" && aside[0].sequence == 1 && aside[0].tries == 3));
  CHECK(aside[0].payload == "x1");
  CHECK(c.queue_depth(q, {})->set_aside == 1);
  CHECK(c.queue_restore(q, "x", 7, {}).conflicted());
  const auto id = operation_id::fresh();
  CHECK(c.queue_restore(q, "x", 1, {id}).value() == 3);
  CHECK(c.queue_restore(q, "x", 1, {id}).value() == 3);
  CHECK(c.queue_set_aside(q, 10, {})->empty());
  CHECK(c.queue_finish(q, "x", a, next.attempt, {}).applied());
  const auto take = operation_id::fresh();
  const auto last = c.queue_take(q, a, 1h, 3, {take}).value();
  CHECK((last.sequence == 3 && last.tries == 1 && last.payload == "x1"));
  CHECK(c.queue_take(q, a, 1h, 3, {take})->attempt == last.attempt);
  CHECK(c.queue_finish(q, "x", a, last.attempt, {}).applied());
  CHECK(c.queue_depth(q, {})->waiting == 0);
  CHECK(c.queue_push(q, "x", "x4", {}).value() == 4);
}

template <class E>
void mirrors(E& c) {
  const auto m = c.object_named(object_kind::mirror, odd_bytes);
  CHECK_FALSE(c.mirror_get(m, "k", {})->version);
  CHECK(c.mirror_put(m, "k", {0, 9'007'199'254'740'993}, "a", {}).applied());
  CHECK(c.mirror_put(m, "k", {0, 9'007'199'254'740'992}, "old", {}).conflicted());
  const auto same = c.mirror_put(m, "k", {0, 9'007'199'254'740'993}, "old", {});
  REQUIRE(same.conflicted());
  CHECK(same.conflict().bytes == "a");
  CHECK(c.mirror_put(m, "k", {1, 0}, std::nullopt, {}).applied());
  CHECK(c.mirror_put(m, "k", {0, huge}, "old", {}).conflicted());
  const auto row = c.mirror_get(m, "k", {}).value();
  CHECK(row.version == interlock::mirror_version{1, 0});
  CHECK_FALSE(row.bytes);
  CHECK(c.mirror_put(m, odd_bytes, {huge, huge}, odd_bytes, {}).applied());
  CHECK(c.mirror_get(m, odd_bytes, {})->bytes == odd_bytes);
}

template <class E>
void everything(E& c) {
  counters(c);
  bounded_counters(c);
  cells(c);
  mutexes(c);
  idempotency_stores(c);
  queues(c);
  mirrors(c);
}

}  // namespace

TEST_CASE("redis::client: every protocol, at the edges of numbers and with any bytes in names") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url());
  everything(c);
}

TEST_CASE("Every protocol runs over an executor of the program's own") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::basic_client<plain_executor> c{plain_executor(server.url())};
  everything(c);
}

TEST_CASE("A command that an executor did not send is refused, one without an answer is unknown") {
  if (!support::need_redis()) return;
  using fault = plain_executor::fault;
  const throwaway_redis server;
  plain_executor own(server.url());
  redis::basic_client<plain_executor> c(own);
  const auto hits = c.object_named(object_kind::counter, "hits");
  own.next(fault::not_sent);
  const auto refused = c.counter_add(hits, 1, {});
  REQUIRE(refused.refused());
  CHECK(refused.error().code == errc::not_connected);
  CHECK(c.counter_load(hits, {}).value() == 0);
  const auto others = c.object_named(object_kind::counter, "others");
  CHECK(c.counter_add(others, 1, {operation_id::fresh()}).applied());  // the server has the script
  own.next(fault::unanswered);
  const auto id = operation_id::fresh();
  const auto unknown = c.counter_add(hits, 1, {id});
  REQUIRE(unknown.unknown());
  CHECK(unknown.id() == id);
  CHECK(c.counter_load(hits, {}).value() == 1);  // it was done
  CHECK(c.counter_add(hits, 1, {id}).value() == 1);
  own.next(fault::unanswered);
  CHECK(c.counter_load(hits, {}).value() == 1);  // a read is asked again
}

TEST_CASE("A retention without end is one that the scripts can count") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url(), {.retention = std::chrono::milliseconds::max()});
  const auto hits = c.object_named(object_kind::counter, "hits");
  const auto id = operation_id::fresh();
  CHECK(c.counter_add(hits, 1, {id}).value() == 1);
  CHECK(c.counter_add(hits, 1, {id}).value() == 1);
  const auto runs = c.object_named(object_kind::idempotency, "runs");
  const auto owner = unique_id::fresh();
  REQUIRE(c.idempotency_claim(runs, "k", interlock::fingerprint{1}, owner, 1s, {}).applied());
  CHECK(c.idempotency_complete(runs, "k", owner, 1, "done", 1h, {}).applied());
}
