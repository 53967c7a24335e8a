// SPDX-License-Identifier: BSL-1.0
// Locks of processes in a file: of those that are killed, of those that are stopped.

#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/fenced.hpp>
#include <interlock/sqlite/mutex.hpp>
#include <interlock/sqlite/observed_mutex.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "engines/sqlite/children.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::testing::temporary_folder;
using support::child_process;
using support::eventually;
using support::shared_with_children;

namespace {

const sqlite::settings quick{.synchronous = sqlite::synchronous::normal};

// Effects: two processes read a number, wait a moment and write it back, 30 times each; between
//          `before` and `after`. Returns: how often they were inside together.
template <class Before>
int meetings(const std::string& file, Before before) {
  struct seen {
    std::atomic<int> ready{0};
    std::atomic<int> inside{0};
    std::atomic<int> met{0};
  };
  const shared_with_children<seen> both;
  const auto work = [&] {
    sqlite::client db(file, {.timeout = 20s}, quick);
    ++both->ready;
    if (!eventually([&] { return both->ready.load() == 2; })) throw store::failure({});
    for (int i = 0; i < 30; ++i) {
      [[maybe_unused]] const auto held = before(db);
      if (both->inside.fetch_add(1) != 0) ++both->met;
      ::usleep(500);
      --both->inside;
    }
  };
  child_process one(work);
  child_process other(work);
  const bool well = one.ended_well();
  CHECK((other.ended_well() && well));
  return both->met.load();
}

}  // namespace

TEST_CASE("Of the processes that lock a mutex of SQLite one holds it while its lease is renewed") {
  const temporary_folder place;
  const store::lock_options brief{.lease = 500ms, .wait = 20s, .poll = 2ms};
  CHECK(meetings(place.path() + "/a.db", [&](sqlite::client& db) {
          return sqlite::mutex(db, "door").lock(brief).value();
        }) == 0);
  CHECK(meetings(place.path() + "/b.db", [&](sqlite::client& db) {
          return sqlite::observed_mutex(db, "door").lock(brief).value();
        }) == 0);
  CHECK(meetings(place.path() + "/c.db", [](sqlite::client&) { return 0; }) > 0);
}

TEST_CASE("A lock of SQLite whose holder was killed is free when its lease has ended") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  const shared_with_children<std::atomic<std::uint64_t>> fence;
  child_process holder([&] {
    sqlite::client db(file, {}, quick);
    const auto guard = sqlite::mutex(db, "door").lock({.lease = 300ms}).value();
    *fence = guard.fence();
    for (;;) ::usleep(1000);
  });
  REQUIRE(eventually([&] { return fence->load() != 0; }));
  sqlite::client db(file, {}, quick);
  const sqlite::mutex door(db, "door");
  CHECK(door.lock({.lease = 300ms, .wait = 600ms}).conflicted());  // it is renewed
  holder.kill();
  const auto guard = door.lock({.lease = 300ms, .wait = 10s});
  CHECK(guard.value().fence() > fence->load());
}

TEST_CASE("A holder of a lock of SQLite that was stopped beyond its lease writes nothing") {
  const temporary_folder place;
  const std::string file = place.path() + "/data.db";
  struct seen {
    std::atomic<int> opened{0};
    std::atomic<int> may_write{0};
    std::atomic<int> plain{0};   // 1: an unfenced write was done
    std::atomic<int> fenced{0};  // 1: applied, 2: conflict
  };
  const shared_with_children<seen> both;
  child_process holder([&] {
    sqlite::client db(file, {}, quick);
    auto guard = sqlite::mutex(db, "door").lock({.lease = 200ms}).value();
    const sqlite::fenced<int> stock(db, "stock");
    auto now = stock.open(guard).value();
    both->opened = 1;
    while (both->may_write.load() == 0) ::usleep(1000);
    both->fenced = stock.write(now, 1).conflicted() ? 2 : 1;
    sqlite::counter(db, "plain").exchange(1).value();
    both->plain = 1;
  });
  REQUIRE(eventually([&] { return both->opened.load() == 1; }));
  holder.stop();
  sqlite::client db(file, {}, quick);
  auto guard = sqlite::mutex(db, "door").lock({.lease = 5s, .wait = 10s}).value();
  const sqlite::fenced<int> stock(db, "stock");
  auto now = stock.open(guard).value();
  CHECK(stock.write(now, 2).applied());
  sqlite::counter(db, "plain").exchange(2).value();
  both->may_write = 1;
  holder.go_on();
  REQUIRE(eventually([&] { return both->plain.load() == 1; }));
  CHECK(both->fenced.load() == 2);
  CHECK(stock.open(guard).value().value == 2);
  CHECK(sqlite::counter(db, "plain").load().value() == 1);  // without a fence, it is overwritten
}

TEST_CASE("An observed mutex of SQLite stays with its holder when the clock is set") {
  const auto now = std::make_shared<std::atomic<std::int64_t>>(1'000'000);
  sqlite::client db(
      ":memory:", {}, {.clock = [now] {
        return std::chrono::system_clock::time_point(std::chrono::seconds(now->load()));
      }});
  const sqlite::mutex by_clock(db, "door");
  const sqlite::observed_mutex observed(db, "door");
  const auto first = by_clock.lock({.lease = 60s}).value();
  const auto second = observed.lock({.lease = 60s}).value();
  CHECK(by_clock.try_lock().conflicted());
  CHECK(observed.try_lock().conflicted());
  *now += 600;
  CHECK(by_clock.try_lock().applied());  // the lease has ended by the engine's clock
  CHECK(observed.try_lock().conflicted());
}
