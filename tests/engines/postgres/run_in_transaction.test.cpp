// SPDX-License-Identifier: BSL-1.0
// Claim, effect and answer in one transaction of PostgreSQL.

#include <interlock/postgres/run_in_transaction.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include "server.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using postgres::run_in_transaction;
using postgres::transaction;

namespace {

// A store by its name.
struct named {
  postgres::client of;
  std::string called;
  [[nodiscard]] std::string_view name() const { return called; }
  [[nodiscard]] const postgres::client& client() const { return of; }
};

}  // namespace

TEST_CASE("A key that was run in a transaction has its effect once and each caller its answer") {
  auto c = fresh_client();
  const named keys{c, "payments"};
  const postgres::counter sales(c, "sales");
  int bodies = 0;
  const auto pay = [&](const char* key) {
    return run_in_transaction(c, keys, key, fingerprint{1}, [&](transaction& t) {
      ++bodies;
      return t.add(sales, 30);
    });
  };
  CHECK(pay("a").value() == 30);
  CHECK(pay("a").value() == 30);
  CHECK(pay("b").value() == 60);
  CHECK(pay("a").value() == 30);
  CHECK(bodies == 2);
  CHECK(sales.load().value() == 60);

  // A body that throws leaves the key free, and nothing done.
  CHECK_THROWS_AS((void)run_in_transaction(c, keys, "c", fingerprint{1},
                                           [&](transaction& t) -> int {
                                             t.add(sales, 1);
                                             throw std::runtime_error("no");
                                           }),
                  std::runtime_error);
  CHECK(pay("c").value() == 90);

  // The forms know each other: claim() finds what was run here, and this what was claimed there.
  const auto object = c.object_named(object_kind::idempotency, "payments");
  const auto me = unique_id::fresh();
  const auto done = c.idempotency_claim(object, "a", fingerprint{1}, me, 10s, {});
  CHECK(done->what == store::idempotency_claim::state::done);
  CHECK(done->response == "30");
  const auto mine = c.idempotency_claim(object, "d", fingerprint{1}, me, 10s, {});
  CHECK(mine->what == store::idempotency_claim::state::claimed);
  const auto busy = pay("d");
  REQUIRE(busy.conflicted());
  CHECK(busy.conflict().what == store::idempotency_claim::state::busy);
  CHECK(busy.conflict().remaining > 5s);
  CHECK(c.idempotency_release(object, "d", me, mine->attempt, {}).applied());
  CHECK(pay("d").value() == 120);
  CHECK(pay("").refused());
  const auto nothing_kept = run_in_transaction(
      c, keys, "e", fingerprint{1}, [&](transaction& t) { t.add(sales, 1); }, 0ms);
  CHECK(nothing_kept.applied());
  CHECK(run_in_transaction(c, keys, "e", fingerprint{2}, [](transaction&) { return 1; }).applied());
}

TEST_CASE("Of callers with one key at once the others wait and get the answer of the first") {
  auto c = fresh_client({.timeout = 30s});
  const named keys{c, "payments"};
  const postgres::counter sales(c, "sales");
  constexpr int callers = 6, requests = 25;
  std::vector<std::vector<long>> answers(callers);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < requests; ++n) {
        const auto came = run_in_transaction(c, keys, std::to_string(n), fingerprint{7},
                                             [&](transaction& t) { return t.add(sales, 1); }, 1h,
                                             {.attempts = 1000});
        // order: relaxed: counted, read after the threads ended
        if (!came.applied()) failures.fetch_add(1, std::memory_order_relaxed);
        answers[static_cast<std::size_t>(i)].push_back(static_cast<long>(came.value_or(-1)));
      }
    });
  }
  for (auto& each : threads) each.join();
  CHECK(failures == 0);
  CHECK(sales.load().value() == requests);
  for (const auto& each : answers) CHECK(each == answers[0]);

  // The control: look, then do, then keep: two callers between look and keep both do it.
  const postgres::counter naive(c, "naive");
  person one, two;
  one.say("create table looked_" + c.options().prefix + " (key text)");
  const std::string look = "select count(*) from looked_" + c.options().prefix;
  const bool first = one.say(look) == "0", second = two.say(look) == "0";
  if (first) naive.add(1).value();
  if (second) naive.add(1).value();
  CHECK(naive.load().value() == 2);
}

TEST_CASE("A key that is known with another fingerprint runs nothing") {
  auto c = fresh_client();
  const named keys{c, "payments"};
  int bodies = 0;
  const auto run = [&](fingerprint print) {
    return run_in_transaction(c, keys, "k", print, [&](transaction&) { return ++bodies; });
  };
  CHECK(run(fingerprint{1}).value() == 1);
  const auto other = run(fingerprint{2});
  REQUIRE(other.conflicted());
  CHECK(other.conflict().what == store::idempotency_claim::state::mismatch);
  CHECK(bodies == 1);
}

TEST_CASE("An awaited run in a transaction of PostgreSQL is on a thread of the client") {
  auto c = fresh_client();
  const named keys{c, "payments"};
  const postgres::counter sales(c, "sales");
  std::thread::id where;
  const auto pay = [&](transaction& t) {
    where = std::this_thread::get_id();
    return t.add(sales, 30);
  };
  const auto work = [&]() -> interlock::task<std::int64_t> {
    const auto first =
        co_await postgres::async_run_in_transaction(c, keys, "a", fingerprint{1}, pay);
    const auto again =
        co_await postgres::async_run_in_transaction(c, keys, "a", fingerprint{1}, pay);
    co_return first.value() * 100 + again.value();
  };
  CHECK(interlock::sync_wait(work()) == 3030);
  CHECK(where != std::this_thread::get_id());
  CHECK(sales.load().value() == 30);

  const named elsewhere{fresh_client(), "payments"};
  const auto refused = run_in_transaction(c, elsewhere, "b", fingerprint{1}, pay);
  REQUIRE(refused.refused());
  CHECK(refused.error().code == errc::bad_argument);
  CHECK(sales.load().value() == 30);
}

TEST_CASE("A take that is another's by now finishes nothing in a transaction") {
  auto c = fresh_client();
  const named queue{c, "jobs"};
  const postgres::counter done(c, "done");
  const auto object = c.object_named(object_kind::queue, "jobs");
  const auto one = unique_id::fresh(), two = unique_id::fresh();
  REQUIRE(postgres::atomically(c, [&](transaction& t) {
            t.push(queue, "k", std::string("job"));
          }).applied());
  const auto slow = c.queue_take(object, one, 0ms, 5, {});
  REQUIRE(slow.applied());
  const auto quick = c.queue_take(object, two, 10s, 5, {});
  REQUIRE(quick.applied());
  CHECK(quick->payload == "job");
  CHECK(quick->attempt > slow->attempt);
  const auto finish = [&](const unique_id& owner, std::uint64_t attempt) {
    return postgres::atomically(c, [&](transaction& t) {
      t.add(done, 1);
      t.finish(queue, "k", owner, attempt);
    });
  };
  const auto late = finish(one, slow->attempt);
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::lease_lost);
  CHECK(done.load().value() == 0);
  CHECK(finish(two, quick->attempt).applied());
  CHECK(done.load().value() == 1);
  CHECK(c.queue_depth(object, {})->waiting == 0);
}

TEST_CASE("The time of an awaited transaction of PostgreSQL runs while it waits for a thread") {
  auto c = fresh_client({.threads = 1});
  const named keys{c, "payments"};
  int bodies = 0;
  const auto count = [&](transaction&) { return ++bodies; };
  std::atomic<bool> asked{false};
  const auto slow = [&]() -> interlock::task<bool> {
    const auto done = co_await postgres::async_atomically(c, [&](transaction&) {
      static_cast<void>(support::eventually([&] { return asked.load(); }));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than the others have
    });
    co_return done.applied();
  };
  const store::transaction_options hurried{.timeout = std::chrono::milliseconds(5)};
  const auto late = [](const auto& heard) {
    return heard.refused() && heard.error().code == store::errc::timed_out;
  };
  const auto alone = [&]() -> interlock::task<bool> {
    co_return late(co_await postgres::async_atomically(c, count, hurried));
  };
  const auto keyed = [&]() -> interlock::task<bool> {
    co_return late(co_await postgres::async_run_in_transaction(
        c, keys, "a", fingerprint{1}, count, std::chrono::hours(1), hurried));
  };
  const auto last = [&]() -> interlock::task<bool> { co_return !asked.exchange(true); };
  const auto [first, second, third, fourth] =
      interlock::sync_wait(interlock::when_all(slow(), alone(), keyed(), last()));
  CHECK((first && fourth));
  CHECK(second);
  CHECK(third);
  CHECK(bodies == 0);
}
