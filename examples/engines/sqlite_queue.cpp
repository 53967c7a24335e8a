// SPDX-License-Identifier: BSL-1.0
// A job whose effect and end are one transaction, and a copy of prices.
// Prints: balance 100, 0 jobs wait

#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/mirror_target.hpp>
#include <interlock/sqlite/serial_queue.hpp>
#include <interlock/sqlite/transaction.hpp>

#include <cstdio>
#include <string>

namespace sqlite = interlock::sqlite;

int main() {
  sqlite::client db(":memory:");  // or a file
  const sqlite::counter balance(db, "balance");

  sqlite::serial_queue<int> jobs(db, "jobs");
  jobs.push("account-7", 100).value();
  const auto job = jobs.take().value();
  sqlite::atomically(db, [&](sqlite::transaction& t) {
    t.add(balance, job.value());
    t.finish(jobs, job);
  }).value();

  sqlite::mirror_target<std::string, int> copy(db, "prices");

  const auto sum = static_cast<int>(balance.load().value());
  const auto waiting = static_cast<int>(jobs.depth().value().waiting);
  std::printf("balance %d, %d jobs wait\n", sum, waiting);
  return sum == 100 && waiting == 0 ? 0 : 1;
}
