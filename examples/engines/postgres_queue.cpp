// SPDX-License-Identifier: BSL-1.0
// A job whose effect and end are one transaction, and a copy of prices.
// Prints: balance 100, 0 jobs wait

#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/mirror_target.hpp>
#include <interlock/postgres/serial_queue.hpp>
#include <interlock/postgres/transaction.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <cstdio>
#include <string>

namespace postgres = interlock::postgres;
using interlock::testing::throwaway_postgres;

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    return 0;
  }
  const throwaway_postgres server;
  postgres::client db(server.url());
  const postgres::counter balance(db, "balance");

  postgres::serial_queue<int> jobs(db, "jobs");
  jobs.push("account-7", 100).value();
  const auto job = jobs.take().value();
  postgres::atomically(db, [&](postgres::transaction& t) {
    t.add(balance, job.value());
    t.finish(jobs, job);
  }).value();

  postgres::mirror_target<std::string, int> copy(db, "prices");
  copy.put_if_newer("tea", {0, 2}, 5).value();
  const bool late = copy.put_if_newer("tea", {0, 1}, 4).applied();

  const auto sum = static_cast<int>(balance.load().value());
  const auto waiting = static_cast<int>(jobs.depth().value().waiting);
  std::printf("balance %d, %d jobs wait\n", sum, waiting);
  return sum == 100 && waiting == 0 && !late ? 0 : 1;
}
