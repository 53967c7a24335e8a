// SPDX-License-Identifier: BSL-1.0
// Queues and mirror targets on PostgreSQL.

#include <interlock/postgres/mirror_target.hpp>
#include <interlock/postgres/serial_queue.hpp>
#include <interlock/postgres/transaction.hpp>

#include "server.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

TEST_CASE("A queue of PostgreSQL gives a key's items in order to one worker at a time") {
  auto db = fresh_client();
  const postgres::serial_queue<int> jobs(db, "jobs");
  constexpr int keys = 4, each = 15;
  support::run_threads(2, [&](std::size_t producer) {  // two keys each, so order per key is known
    for (int i = 0; i < each; ++i) {
      for (std::size_t k = 2 * producer; k < 2 * producer + 2; ++k) {
        jobs.push(std::to_string(k), i).value();
      }
    }
  });
  std::mutex guard;
  std::map<std::string, std::vector<int>> done;
  std::map<std::string, int> inside;
  std::atomic<int> left{keys * each};
  std::atomic<bool> two_at_once{false};
  support::run_threads(4, [&](std::size_t) {
    // order: relaxed: a count; the vectors are guarded
    while (left.load(std::memory_order_relaxed) > 0) {
      auto job = jobs.take();
      if (!job) continue;  // every key is another's at this moment
      {
        const std::lock_guard lock(guard);
        // order: relaxed: looked at after the threads were joined
        if (++inside[std::string(job->key())] > 1) two_at_once.store(true, std::memory_order_relaxed);
        done[std::string(job->key())].push_back(job->value());
      }
      {
        const std::lock_guard lock(guard);
        --inside[std::string(job->key())];
      }
      // order: relaxed: as above
      if (job->finish().applied()) left.fetch_sub(1, std::memory_order_relaxed);
    }
  });
  // order: relaxed: the threads were joined
  CHECK(!two_at_once.load(std::memory_order_relaxed));
  REQUIRE(done.size() == keys);
  for (const auto& [key, items] : done) {
    REQUIRE(items.size() == each);
    for (int i = 0; i < each; ++i) CHECK(items[static_cast<std::size_t>(i)] == i);
  }
  CHECK(jobs.depth().value().waiting == 0);
}

TEST_CASE("An item that is finished in the transaction of its effect has it once in PostgreSQL") {
  auto db = fresh_client();
  const postgres::counter sold(db, "sold");
  const postgres::serial_queue<int> jobs(db, "jobs", {.lease = 50ms});
  postgres::atomically(db, [&](postgres::transaction& t) {
    t.push(jobs, "k", 5);
    t.push(jobs, "k", 7);
  }).value();
  const auto book = [&](const auto& job) {
    return postgres::atomically(db, [&](postgres::transaction& t) {
      t.add(sold, job.value());
      t.finish(jobs, job);
    });
  };
  // The first worker's take is made without its heartbeat, as if it were stopped.
  const unique_id stopped = unique_id::fresh();
  const auto first = db.queue_take(jobs.object(), stopped, 20ms, 10, {}).value();
  bool taken_over = false;
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!taken_over && std::chrono::steady_clock::now() < end) {
    const auto job = jobs.take();
    taken_over = job && book(*job).applied();
  }
  REQUIRE(taken_over);
  const auto late = postgres::atomically(db, [&](postgres::transaction& t) {
    t.add(sold, 5);
    t.finish(jobs, first.key, stopped, first.attempt);
  });
  REQUIRE(late.refused());
  CHECK(late.error().code == errc::lease_lost);
  CHECK(sold.load().value() == 5);
  const auto second = jobs.take().value();
  CHECK(second.value() == 7);
  CHECK(book(second).applied());
  CHECK(book(second).refused());
  CHECK(sold.load().value() == 12);
  CHECK(jobs.depth().value().waiting == 0);
}

TEST_CASE("An item that a transaction of PostgreSQL finished is ended and not lost to its worker") {
  auto db = fresh_client();
  const postgres::counter sold(db, "sold");
  const postgres::serial_queue<int> jobs(db, "jobs", {.poll = 1ms});
  for (int n = 0; n < 3; ++n) jobs.push("k", n).value();
  interlock::inplace_stop_source stop;
  int told = 0;
  std::vector<bool> ended;
  const auto done = jobs.work(
      [&](auto& job) {
        const auto said = postgres::atomically(db, [&](postgres::transaction& t) {
          t.add(sold, 1);
          t.finish(jobs, job);
        });
        ended.push_back(said.applied() && job.ended());
        told += job.lost().stop_requested();
        if (ended.size() == 3) stop.request_stop();
      },
      stop.get_token());
  CHECK(ended == std::vector<bool>(3, true));
  CHECK(told == 0);
  CHECK(done.finished == 3);
  CHECK(done.lost == 0);
  CHECK(jobs.depth().value().waiting == 0);

  // The control: one that was undone has ended nothing, and its item is the worker's.
  jobs.push("k", 3).value();
  auto job = jobs.take().value();
  CHECK_THROWS_AS(postgres::atomically(db,
                                       [&](postgres::transaction& t) {
                                      t.finish(jobs, job);
                                      throw std::runtime_error("no");
                                    }),
                  std::runtime_error);
  CHECK_FALSE(job.ended());
  CHECK(job.heartbeat().applied());
  CHECK_FALSE(job.lost().stop_requested());
  CHECK(job.finish().applied());
}

TEST_CASE("An item is not ended by an answer that PostgreSQL kept of another item's transaction") {
  auto db = fresh_client();
  const postgres::serial_queue<int> jobs(db, "jobs", {.poll = 1ms});
  for (int n = 0; n < 2; ++n) jobs.push("k", 7).value();  // the same order, pushed twice
  const auto id = store::operation_id::fresh();
  const auto work = [&](auto& job) {
    return postgres::atomically(db, [&](postgres::transaction& t) { t.finish(jobs, job); },
                                {.id = id});
  };
  auto first = jobs.take().value();
  CHECK(work(first).applied());
  CHECK(first.ended());
  auto second = jobs.take().value();
  CHECK(work(second).applied());  // done before, and not of this item
  CHECK_FALSE(second.ended());
  CHECK(second.finish().applied());
  CHECK(jobs.depth().value().waiting == 0);
}

TEST_CASE("A mirror of PostgreSQL keeps the newest version, deletions too") {
  auto db = fresh_client();
  const postgres::mirror_target<std::string, int> copy(db, "prices");
  CHECK(copy.put_if_newer("tea", {1, 5}, 50).applied());
  const auto older = copy.put_if_newer("tea", {1, 4}, 40);
  REQUIRE(older.conflicted());
  CHECK(older.conflict().value == 50);
  CHECK(copy.put_if_newer("tea", {2, 1}, 21).applied());  // the epoch counts first
  CHECK(copy.put_if_newer("tea", {1, 9}, 19).conflicted());
  CHECK(copy.get("tea")->value == 21);
}

TEST_CASE("A deletion in PostgreSQL that comes late deletes nothing newer") {
  auto db = fresh_client();
  const postgres::mirror_target<std::string, int> copy(db, "prices");
  CHECK(copy.put_if_newer("tea", {0, 3}, 30).applied());
  CHECK(copy.erase("tea", {0, 2}).conflicted());
  CHECK(copy.get("tea")->value == 30);
  CHECK(copy.erase("tea", {0, 4}).applied());
  CHECK(!copy.get("tea")->value);
  CHECK(copy.put_if_newer("tea", {0, 3}, 30).conflicted());
  CHECK(copy.get("tea")->version == interlock::mirror_version{0, 4});
}
