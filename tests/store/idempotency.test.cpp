// SPDX-License-Identifier: BSL-1.0
// Keys that are run once among all processes: over the engine in memory, with time that is told.

#include <interlock/memory/idempotency_store.hpp>
#include <interlock/store/idempotency_cache.hpp>
#include <interlock/task.hpp>

#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace memory = interlock::memory;
namespace store = interlock::store;
using namespace std::chrono_literals;
using interlock::fingerprint;
using interlock::idempotency_outcome;
using store::errc;

namespace {

using payments = memory::idempotency_store<int>;
using cache = store::idempotency_cache<std::string, payments>;
constexpr fingerprint body{1};
constexpr fingerprint other_body{2};
const store::idempotency_options at_once{.lease = 3s, .wait = 0ms};

struct two_clients {
  std::shared_ptr<memory::manual_clock> time = std::make_shared<memory::manual_clock>();
  memory::client one{{}, {.clock = time}};
  memory::client two = one.beside();
};

}  // namespace

TEST_CASE("A key is completed or freed under an id that another holder gave") {
  two_clients c;
  const auto job = store::operation_id::fresh();  // which each process that has the job is given
  const payments here(c.one, "payments", at_once);
  const payments there(c.two, "payments", at_once);
  CHECK(here.claim("k", body)->run->release({.id = job}).applied());
  CHECK(there.claim("k", body)->run->release({.id = job}).applied());
  const auto other = store::operation_id::fresh();
  CHECK(here.claim("k", body)->run->complete(7, {.id = other}).applied());
  CHECK(there.claim("l", body)->run->complete(8, {.id = other}).applied());
  auto third = here.claim("m", body);
  CHECK(interlock::sync_wait(third->run->async_complete(9, {.id = other})).applied());
  int executed = 0;
  for (const char* key : {"k", "l", "m"}) {
    CHECK(here.run(key, body, [&] { return ++executed; })->response >= 7);
  }
  CHECK(executed == 0);
}

TEST_CASE("Of the callers of a key in all processes one executes while its heartbeat lasts") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  const payments there(c.two, "payments", at_once);
  int executed = 0;
  const auto said = here.run("k", body, [&](payments::ticket& mine) {
    for (int i = 0; i < 6; ++i) {
      const auto asked = c.one.requests();
      c.time->advance(1100ms);
      if (!support::eventually([&] { return c.one.requests() > asked; })) return -1;
      std::this_thread::sleep_for(2ms);  // until the answer is noted
      const auto busy = there.run("k", body, [&] { return ++executed; });
      if (!busy.conflicted() || busy.conflict().why != idempotency_outcome::in_flight) return -2;
    }
    return mine.lost().stop_requested() ? -3 : 7;
  });
  CHECK(said->response == 7);
  CHECK(said->how == idempotency_outcome::executed);
  CHECK(executed == 0);

  // The control: an owner without heartbeats is taken over.
  auto dead = here.claim("dead", body);
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "idempotency_store.heartbeat" ? memory::fault::drop()
                                                        : memory::fault::none();
  }));
  c.time->advance(3100ms);
  CHECK(support::eventually([&] { return dead->run->lost().stop_requested(); }));
  CHECK(there.run("dead", body, [&] { return ++executed; })->attempt == 2);
  CHECK(executed == 1);
}

TEST_CASE("Whoever repeats a request later gets the answer that was kept") {
  two_clients c;
  const payments here(c.one, "payments", {.keep = 1h});
  const payments there(c.two, "payments", {.keep = 1h});
  CHECK(here.run("k", body, [] { return 7; })->response == 7);
  const auto again = there.run("k", body, [] { return 8; });
  CHECK(again->response == 7);
  CHECK(again->how == idempotency_outcome::replayed);
  CHECK(again->attempt == 1);
  c.time->advance(61min);
  const auto later = there.run("k", other_body, [] { return 9; });
  CHECK(later->response == 9);
  CHECK(later->attempt == 2);
}

TEST_CASE("A key that comes with another payload is refused") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  CHECK(here.run("k", body, [] { return 7; }).applied());
  const auto said = here.run("k", other_body, [] { return 8; });
  CHECK(said.conflict().why == idempotency_outcome::payload_mismatch);
  const auto running = here.claim("r", body);
  CHECK(here.claim("r", other_body).conflict().why == idempotency_outcome::payload_mismatch);
}

TEST_CASE("A late owner cannot overwrite what his successor did") {
  two_clients c;
  c.one.inject(memory::faults([](const memory::request& r) {  // no heartbeat gets through
    return r.operation == "idempotency_store.heartbeat" ? memory::fault::drop()
                                                        : memory::fault::none();
  }));
  const payments here(c.one, "payments", at_once);
  const payments there(c.two, "payments", at_once);
  const auto late = here.run("k", body, [&] {
    c.time->advance(4s);
    static_cast<void>(there.run("k", body, [] { return 2; }));
    return 1;
  });
  CHECK(late.conflict().why == idempotency_outcome::lost_ownership);
  CHECK(there.run("k", body, [] { return 3; })->response == 2);
  // Nor can one who gives up free the key of his successor.
  auto first = here.claim("f", body).value();
  c.time->advance(4s);
  auto second = there.claim("f", body).value();
  CHECK(first.run->release().conflicted());
  CHECK(second.run->complete(5).applied());
  CHECK(there.run("f", body, [] { return 6; })->response == 5);
}

TEST_CASE("A function that throws leaves its key free") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  CHECK_THROWS_AS(here.run("k", body, []() -> int { throw std::runtime_error("no"); }),
                  std::runtime_error);
  const auto said = here.run("k", other_body, [] { return 7; });
  CHECK(said->how == idempotency_outcome::executed);
  CHECK(said->attempt == 2);
}

TEST_CASE("A function that settles its ticket is answered what that was told") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  const payments there(c.two, "payments", at_once);
  using ticket = payments::ticket;
  const auto done = here.run("k", body, [](ticket& mine) {
    mine.complete(7).value();
    return 7;
  });
  REQUIRE(done.applied());
  CHECK(done->how == idempotency_outcome::executed);
  CHECK(there.run("k", body, [] { return 8; })->response == 7);
  const auto freed = here.run("f", body, [](ticket& mine) {
    mine.release().value();
    return 7;
  });
  CHECK(freed->response == 7);
  CHECK(there.run("f", body, [] { return 8; })->attempt == 2);
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "idempotency_store.complete" ? memory::fault::drop()
                                                       : memory::fault::none();
  }));
  CHECK(here.run("d", body, [](ticket& mine) {
              (void)mine.complete(7);
              return 7;
            }).unknown());
  std::optional<ticket> kept;
  CHECK(here.run("m", body, [&](ticket& mine) {
              kept.emplace(std::move(mine));
              return 7;
            }).unknown());
  CHECK(kept->release().applied());
}

TEST_CASE("An answer that is kept is no loss to its owner though a heartbeat meets it") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  auto mine = here.claim("k", body).value();
  std::atomic<bool> met{false};
  c.one.inject(memory::faults([&](const memory::request& r) {
    if (r.operation == "idempotency_store.heartbeat" && r.done) met = true;
    if (r.operation != "idempotency_store.complete" || !r.done) return memory::fault::none();
    c.time->advance(1100ms);  // it is kept, and the answer to that on the way
    if (support::eventually([&] { return met.load(); })) {
      const auto told = [&] { return mine.run->lost().stop_requested(); };
      static_cast<void>(support::eventually(told, 50ms));
    }
    return memory::fault::none();
  }));
  CHECK(mine.run->complete(7).applied());
  CHECK(met);
  CHECK_FALSE(mine.run->lost().stop_requested());
}

TEST_CASE("A ticket that is settled twice says again what it was told and asks nothing") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  const payments there(c.two, "payments", at_once);
  std::uint64_t asked = 0;
  const auto kept = here.run("k", body, [&](payments::ticket& mine) {
    mine.complete(42).value();
    asked = c.one.requests();
    mine.release().value();
    mine.complete(43).value();
    return 42;
  });
  REQUIRE(kept.applied());
  CHECK(kept->response == 42);
  CHECK(c.one.requests() == asked);
  CHECK(there.run("k", body, [] { return 8; })->response == 42);
  const auto freed = here.run("f", body, [](payments::ticket& mine) {
    mine.release().value();
    mine.complete(42).value();
    return 42;
  });
  CHECK(freed.applied());
  const auto awaited = [&]() -> interlock::task<bool> {
    auto mine = here.claim("a", body).value();
    auto first = co_await mine.run->async_complete(1);
    const auto before = c.one.requests();
    auto second = co_await mine.run->async_complete(2);  // nobody noted what the first was told
    auto third = mine.run->release();
    co_return first.applied() && second.conflicted() && third.conflicted() &&
        c.one.requests() == before;
  };
  CHECK(interlock::sync_wait(awaited()));
  CHECK(there.run("a", body, [] { return 8; })->response == 1);
}

TEST_CASE("A claim whose reply was lost is the same attempt when it is asked for again") {
  two_clients c;
  const payments here(c.one, "payments", at_once);
  int lost = 0;
  c.one.inject(memory::faults([&](const memory::request& r) {
    return r.done && lost < 4 && ++lost % 2 == 1 ? memory::fault::lose_reply()
                                                 : memory::fault::none();
  }));
  int executed = 0;
  const auto said = here.run("k", body, [&] { return ++executed; });
  CHECK(said->attempt == 1);
  CHECK(executed == 1);
  CHECK(lost == 4);  // the reply to the answer too, which was given again

  // The control: another owner each time is another attempt, which waits for the first.
  const auto store_ = c.two.object_named(store::object_kind::idempotency, "payments");
  using state = store::idempotency_claim::state;
  const auto ask = [&] {
    return c.two.idempotency_claim(store_, "n", body, store::unique_id::fresh(), 3s, {})->what;
  };
  CHECK(ask() == state::claimed);
  CHECK(ask() == state::busy);
}

TEST_CASE("A caller waits for the run of another process as long as it is told to") {
  memory::client engine;
  const payments here(engine, "payments", {.wait = 20s});
  auto first = here.claim("k", body).value();
  std::atomic<int> response{0};
  std::thread joiner([&] { response = here.run("k", body, [] { return 8; })->response; });
  CHECK(payments(engine, "payments", {.wait = 5ms}).run("k", body, [] { return 8; }).conflicted());
  interlock::inplace_stop_source stop;
  stop.request_stop();
  CHECK(here.run(
                "k", body, [] { return 8; }, {}, stop.get_token())
            .error()
            .code == errc::cancelled);
  CHECK(first.run->heartbeat().applied());
  CHECK(first.run->complete(7).applied());
  joiner.join();
  CHECK(response == 7);
  const auto waits = [&]() -> interlock::task<int> {
    auto said = co_await here.async_claim("k", body);
    auto fresh = co_await here.async_claim("other", body);
    auto done = co_await fresh->run->async_complete(1);
    co_return done.applied() ? said->known->response : 0;
  };
  CHECK(interlock::sync_wait(waits()) == 7);
  CHECK(here.run("other", body, [] { return 8; })->response == 1);
}

TEST_CASE("An answer that does not decode is refused and a run with an unknown end is in doubt") {
  two_clients c;
  CHECK(memory::idempotency_store<std::string>(c.one, "p")
            .run("k", body, [] { return std::string("seven"); })
            .applied());
  CHECK(payments(c.two, "p").run("k", body, [] { return 7; }).error().code == errc::bad_value);
  CHECK(payments(c.two, "p").run("", body, [] { return 7; }).error().code == errc::bad_argument);
  CHECK(payments(c.two, "p", {.lease = 1ms}).run("x", body, [] { return 7; }).refused());

  memory::client lossy = c.one.beside({.timeout = 20ms});
  lossy.inject(memory::faults([](const memory::request& r) {
    return r.operation == "idempotency_store.complete" && r.done ? memory::fault::lose_reply()
                                                                 : memory::fault::none();
  }));
  CHECK(payments(lossy, "p").run("u", body, [] { return 7; }).unknown());
  CHECK(payments(c.two, "p").run("u", body, [] { return 8; })->response == 7);
}

TEST_CASE("Of the callers of a key that overlap in a process one asks the engine") {
  memory::client engine;
  std::atomic<int> claims{0};
  engine.inject(memory::faults([&](const memory::request& r) {
    if (r.operation == "idempotency_store.claim" && !r.done) ++claims;
    return memory::fault::none();
  }));
  cache here{payments(engine, "payments")};
  std::atomic<int> executed{0};
  std::atomic<int> inside{0};
  std::atomic<int> sum{0};
  support::run_threads(8, [&](std::size_t) {
    ++inside;
    sum += here.run("k", body,
                    [&] {
                      (void)support::eventually([&] { return inside == 8; });
                      ++executed;
                      return 7;
                    })
               ->response;
  });
  CHECK(executed == 1);
  CHECK(sum == 56);
  CHECK(claims == 1);
}

TEST_CASE("A repetition of what this process has answered needs no request") {
  memory::client engine;
  cache here{payments(engine, "payments")};
  CHECK(here.run("k", body, [] { return 7; })->how == idempotency_outcome::executed);
  const auto asked = engine.requests();
  CHECK(here.run("k", body, [] { return 8; })->response == 7);
  CHECK(here.run("k", other_body, [] { return 8; }).conflict().why ==
        idempotency_outcome::payload_mismatch);
  CHECK(engine.requests() == asked);
  here.evict("k");
  CHECK(here.run("k", body, [] { return 8; })->how == idempotency_outcome::replayed);
  CHECK(engine.requests() == asked + 1);
}

TEST_CASE("Of the callers of a key in all processes one executes") {
  memory::client engine;
  cache here{payments(engine, "payments")};
  cache there{payments(engine.beside(), "payments")};
  std::atomic<int> executed{0};
  support::run_threads(8, [&](std::size_t i) {
    for (int k = 0; k < 50; ++k) {
      std::string key = "k";
      key += std::to_string(k);
      (void)(i % 2 == 0 ? here : there).run(key, body, [&] { return ++executed; });
    }
  });
  CHECK(executed == 50);

  CHECK_THROWS_AS(here.run("new", body, []() -> int { throw std::runtime_error("no"); }),
                  std::runtime_error);
  CHECK(there.run("new", other_body, [] { return 1; }).applied());
  engine.lose_history();
  CHECK(here.run("later", body, [] { return 1; }).error().code == errc::history_lost);
}

TEST_CASE("What a store said instead of an answer is not kept in front of it") {
  memory::client engine;
  cache::options how;
  how.failure_ttl = 1h;
  how.is_final_failure = [](const std::exception_ptr&) { return true; };
  cache here(payments(engine, "payments"), how);
  engine.inject(memory::faults([](const memory::request& r) {
    return r.number == 1 ? memory::fault::drop() : memory::fault::none();
  }));
  CHECK(here.run("k", body, [] { return 7; }).error().code == errc::not_connected);
  CHECK(here.run("k", body, [] { return 7; })->how == idempotency_outcome::executed);
  const auto fails = []() -> int { throw std::runtime_error("no"); };
  CHECK_THROWS_AS(here.run("f", body, fails), std::runtime_error);
  CHECK_THROWS_AS(here.run("f", body, [] { return 7; }), std::runtime_error);  // as it was told
  how.lease = 1s;
  CHECK_THROWS_AS(cache(payments(engine, "payments"), how), std::invalid_argument);
}

TEST_CASE("A claim that may have been given is not called refused") {
  memory::client engine(store::client_options{.timeout = 100ms});
  std::atomic<int> asked{0};
  engine.inject(memory::faults([&](const memory::request& r) {
    if (r.done) return memory::fault::lose_reply();
    return asked.fetch_add(1) == 0 ? memory::fault::none() : memory::fault::drop();
  }));
  CHECK(payments(engine, "p", at_once).run("k", body, [] { return 1; }).unknown());
  engine.inject({});
  CHECK(payments(engine, "p", at_once).run("k", body, [] { return 1; }).conflicted());
}

TEST_CASE("A claim whose answer came after its lease runs nothing") {
  two_clients c;
  c.one.inject(memory::faults([](const memory::request& r) {
    return r.operation == "idempotency_store.claim" && r.done ? memory::fault::delay(1900ms)
                                                              : memory::fault::none();
  }));
  int executed = 0;
  const store::idempotency_options brief{.lease = 1500ms, .wait = 0ms};
  const auto late = payments(c.one, "p", brief).run("k", body, [&] { return ++executed; });
  CHECK(late.refused());
  CHECK(executed == 0);
  CHECK(payments(c.two, "p", brief).run("k", body, [&] { return ++executed; }).applied());
}
