// SPDX-License-Identifier: BSL-1.0
// A payment that arrives three times: its effect, its key and its answer are one transaction.
// Prints: 30, 30, 30 after 1 run

#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/idempotency_store.hpp>
#include <interlock/sqlite/run_in_transaction.hpp>

#include <cstdint>
#include <cstdio>

namespace sqlite = interlock::sqlite;

int main() {
  sqlite::client db(":memory:");  // or a file
  const sqlite::counter sales(db, "sales");
  sqlite::idempotency_store<std::int64_t> payments(db, "payments");
  const auto print = interlock::fingerprint_of("30 for a lamp");

  int answers[3] = {};
  for (int& answer : answers) {
    const auto sell = [&](sqlite::transaction& t) { return t.add(sales, 30); };
    const auto paid = sqlite::run_in_transaction(db, payments, "order-7", print, sell);
    answer = static_cast<int>(paid.value_or(-1));
  }
  const int runs = static_cast<int>(sales.load().value()) / 30;
  std::printf("%d, %d, %d after %d run\n", answers[0], answers[1], answers[2], runs);
  return runs == 1 && answers[2] == 30 ? 0 : 1;
}
