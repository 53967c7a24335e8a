// SPDX-License-Identifier: BSL-1.0
// Failover between two hosts that lose sight of each other: the old primary lives on, and goes on
// saying yes to those on its side, while the replica of the other side is promoted.

#include "engines/faults/redis.hpp"

#include <interlock/memory/fenced.hpp>
#include <interlock/redis/mutex.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "engines/faults/shifted_server.hpp"
#include "engines/support/two_hosts.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"

namespace faults {

using interlock::testing::throwaway_redis;
using support::host;
using door = interlock::redis::mutex;
using ledger = interlock::memory::fenced<std::string>;

// A Redis on each of two hosts, the right one a replica. Clients know one address, which is the
// left host's until the right one takes it: then each host leads to its own.
class two_redis {
public:
  explicit two_redis(std::map<std::string, std::string> environment_of_right = {}) {
    hosts.left.on([] { support::ip("address add 10.77.0.100/32 dev lo"); });
    interlock::testing::redis_options how{
        .appendonly = interlock::testing::redis_appendonly::always,
        .settings = {"bind 0.0.0.0", "port 6379", "protected-mode no",
                     "repl-diskless-sync-delay 0"}};
    left_ = hosts.left.on([&] { return std::make_unique<throwaway_redis>(how); });
    how.settings.push_back("replicaof 10.77.0.1 6379");
    how.environment = std::move(environment_of_right);
    right_ = hosts.right.on([&] { return std::make_unique<throwaway_redis>(how); });
  }

  [[nodiscard]] throwaway_redis& left() const { return *left_; }
  [[nodiscard]] throwaway_redis& right() const { return *right_; }

  // Effects: makes a client that is on the host. Its calls are to be made there too.
  [[nodiscard]] static place::client client_on(const host& at, const store::client_options& options,
                                               const interlock::redis::settings& how = {}) {
    return at.on([&] { return place::client("redis://10.77.0.100:6379", options, how); });
  }
  // Effects: waits until the right one has what the left one has written so far.
  void catch_up() const {
    left().command({"SET", "mark", std::to_string(++mark_)});
    const std::string text = std::to_string(mark_);
    const std::string there = "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
    REQUIRE(support::eventually([&] { return right().command({"GET", "mark"}) == there; }));
  }
  void promote_right() const {
    right().command({"REPLICAOF", "NO", "ONE"});
    hosts.right.on([] { support::ip("address add 10.77.0.100/32 dev lo"); });
  }
  // Effects: kill -9, and the way from the left host to the right one is free.
  void end_left() const {
    left().crash();
    hosts.left.on([] { support::ip("address del 10.77.0.100/32 dev lo"); });
    hosts.mend();
  }

  support::two_hosts hosts;

private:
  std::unique_ptr<throwaway_redis> left_, right_;
  mutable int mark_ = 0;
};

// A fence as many programs make it. Returns: the next one of that server.
inline std::uint64_t naive_fence(const throwaway_redis& on) {
  return std::stoull(on.command({"INCR", "naive fence"}).substr(1));
}

}  // namespace faults

TEST_CASE("failover: what a Redis out of sight of its replica loses is noticed and fences go on") {
  using namespace faults;
  if (!place::available() || !support::need_two_hosts()) return;
  const two_redis both;
  const host &left = both.hosts.left, &right = both.hosts.right;
  const auto options = fresh({.timeout = 5s});
  place::client on_left = two_redis::client_on(left, options, {.look_every = 5ms});
  place::client careful = two_redis::client_on(left, options, {.replicas = 1});
  place::client on_right = two_redis::client_on(right, options, {.look_every = 10s});
  const auto hits = on_left.object_named(store::object_kind::counter, "hits");
  const auto orders = on_left.object_named(store::object_kind::counter, "orders");
  const auto paid = on_left.object_named(store::object_kind::counter, "paid");
  const auto add = [](place::client& with, const auto& to, const store::call_options& call = {}) {
    return with.counter_add(to, 1, call);
  };
  const interlock::memory::client elsewhere;  // what the fences protect is not in that Redis
  const ledger stock(elsewhere, "stock"), naive(elsewhere, "naive");

  std::int64_t acknowledged = 0, on_replicas = 0, doubtful = 0;
  both.catch_up();
  left.on([&] {
    for (int i = 0; i < 10; ++i) acknowledged += add(on_left, hits).applied() ? 1 : 0;
    for (int i = 0; i < 10; ++i) on_replicas += add(careful, paid).applied() ? 1 : 0;
    for (int i = 0; i < 5; ++i) static_cast<void>(naive_fence(both.left()));
  });
  right.on([&] {
    for (int i = 0; i < 10; ++i) add(on_right, orders).value();
  });
  both.catch_up();
  both.hosts.cut();

  // The left side does not notice, but for who waits for replicas.
  std::uint64_t highest = 0;
  door::guard late = left.on([&] {
    const auto end = steady_clock::now() + 100ms;  // several looks
    while (steady_clock::now() < end) {
      acknowledged += add(on_left, hits).applied() ? 1 : 0;
      highest = std::max(highest, door(on_left, "door").lock().value().fence());
    }
    for (int i = 0; i < 2; ++i) {
      const auto said = add(careful, paid, {{}, 50ms});
      on_replicas += said.applied() ? 1 : 0;
      doubtful += said.unknown() ? 1 : 0;
    }
    return door(on_left, "door").lock({.lease = 60s}).value();
  });
  highest = std::max(highest, late.fence());
  const auto opened_late = stock.open(late).value();
  CHECK(stock.write(opened_late, "left").applied());
  static_cast<void>(naive_fence(both.left()));
  const store::fence_and_owner naive_late{naive_fence(both.left()), late.owner()};
  const auto naive_opened_late = naive.open(naive_late).value();

  // The right side knows that it does not know.
  const auto id = store::operation_id::fresh();
  const bool unsure = right.on([&] { return add(on_right, orders, {id, 100ms}).unknown(); });
  both.promote_right();
  door::guard next = right.on([&] {
    return unless_refused([&] { return door(on_right, "door").lock({.lease = 60s}); }).value();
  });
  const std::uint64_t fence = next.fence();  // as it was given: open may raise it
  const auto ordered = right.on([&] { return add(on_right, orders, {.id = id}).value(); });

  // Two hold the lock, and each is sure of it. Behind the fence one can write.
  const bool two_hold = left.on([&] { return late.renew().applied() && late && next; });
  const auto opened_next = stock.open(next).value();
  const bool saw_the_last = opened_next.value == "left";
  const bool late_refused = stock.write(opened_late, "left again").conflicted();
  const bool next_writes = stock.write(opened_next, "right").applied();
  // The control: by INCR the later holder is the one who is refused.
  const std::uint64_t naive_next = naive_fence(both.right());
  const bool naive_locked_out = naive.open({naive_next, next.owner()}).conflicted();
  const bool naive_late_writes = naive.write(naive_opened_late, "left again").applied();

  // A server that must have a replica stops; what it acknowledged until then is lost all the same.
  both.left().command({"CONFIG", "SET", "min-replicas-max-lag", "1"});
  both.left().command({"CONFIG", "SET", "min-replicas-to-write", "1"});
  const bool stops = left.on([&] {
    return support::eventually([&] {
      const auto said = add(on_left, hits);
      acknowledged += said.applied() ? 1 : 0;
      return said.refused() && said.error().code == store::errc::guarantee_not_met;
    });
  });

  both.end_left();
  const bool told = left.on([&] {
    return support::eventually([&] {
      const auto said = on_left.counter_load(hits, {});
      return said.refused() && said.error().code == store::errc::history_lost;
    });
  });
  std::int64_t counted = 0, counted_careful = 0;
  left.on([&] {
    on_left.accept_history();
    counted = on_left.counter_load(hits, {}).value();
    counted_careful = on_left.counter_load(paid, {}).value();
    CHECK(late.unlock().conflicted());  // it is the next one's
  });
  right.on([&] { CHECK(next.unlock().applied()); });

  tell(place::engine,
       "two hosts: %lld acknowledged out of sight of the replica, %lld lost, %s; with replicas = 1 "
       "%lld unknown, %lld lost",
       static_cast<long long>(acknowledged - 10), static_cast<long long>(acknowledged - counted),
       told ? "history_lost" : "NOT noticed", static_cast<long long>(doubtful),
       static_cast<long long>(on_replicas - counted_careful));
  tell(place::engine,
       "two hosts: fences go %s, the late holder's write is %s; by INCR they go from %llu to %llu, "
       "and it is %s",
       fence > highest ? "on" : "BACK", late_refused ? "refused" : "TAKEN",
       static_cast<unsigned long long>(naive_late.fence),
       static_cast<unsigned long long>(naive_next), naive_late_writes ? "taken" : "refused");
  CHECK(counted == 10);
  CHECK(acknowledged > counted);
  CHECK(told);
  CHECK(stops);
  CHECK(on_replicas == 10);
  CHECK(doubtful == 2);
  CHECK(counted_careful == on_replicas);
  CHECK(unsure);
  CHECK(ordered == 11);
  CHECK(two_hold);
  CHECK(fence > highest);
  CHECK(saw_the_last);
  CHECK(late_refused);
  CHECK(next_writes);
  CHECK(naive_next < naive_late.fence);
  CHECK(naive_locked_out);
  CHECK(naive_late_writes);
}

TEST_CASE("failover: to a Redis host whose clock is behind a fence goes back, and is raised") {
  using namespace faults;
  if (!shifted_place::available() || !support::need_two_hosts()) return;
  const support::shifted_clock clock;
  clock.set(-600s);
  const two_redis both(clock.environment());
  const auto options = fresh({.timeout = 5s});
  place::client on_left = two_redis::client_on(both.hosts.left, options);
  const interlock::memory::client elsewhere;
  const ledger stock(elsewhere, "stock");
  both.catch_up();
  both.hosts.cut();
  door::guard late = both.hosts.left.on([&] {
    return door(on_left, "door").lock({.lease = 60s}).value();
  });
  const auto opened_late = stock.open(late).value();
  both.promote_right();
  place::client on_right = two_redis::client_on(both.hosts.right, options);
  both.hosts.right.on([&] {
    door::guard next = door(on_right, "door").lock({.lease = 60s}).value();
    const std::uint64_t first = next.fence();
    CHECK(first < late.fence());  // two clocks, and nothing else that both know
    CHECK(stock.open(store::fence_and_owner{first, next.owner()}).conflicted());
    const auto opened_next = stock.open(next).value();
    CHECK(next.fence() > late.fence());
    CHECK(stock.write(opened_late, "left").conflicted());
    CHECK(stock.write(opened_next, "right").applied());
    CHECK(next.unlock().applied());
    tell(place::engine,
         "two hosts: clock 10 minutes behind: a fence went back by %llu s, opening raised it",
         static_cast<unsigned long long>((late.fence() - first) / 1'000'000));
  });
  CHECK(both.hosts.left.on([&] { return late.unlock().applied(); }));  // its server knows no better
}
