// SPDX-License-Identifier: BSL-1.0
// A payment that is asked for twice and made once: key, effect and answer in one transaction.
// Prints: 30, 30, 30 in all

#include <interlock/postgres/idempotency_store.hpp>
#include <interlock/postgres/run_in_transaction.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <cstdint>
#include <cstdio>
#include <string>

namespace postgres = interlock::postgres;
using interlock::fingerprint_of;
using interlock::testing::throwaway_postgres;

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    return 0;
  }
  const throwaway_postgres server;
  postgres::client db(server.url());
  const postgres::idempotency_store<std::int64_t> payments(db, "payments");
  const postgres::counter sales(db, "sales");
  const std::string request = "30 for a book";

  const auto print = fingerprint_of(request);
  const auto pay = [&] {
    const auto sell = [&](postgres::transaction& t) { return t.add(sales, 30); };
    const auto paid = postgres::run_in_transaction(db, payments, "order-7", print, sell);
    return paid.value();
  };
  const auto first = pay(), second = pay();
  std::printf("%d, %d, %d in all\n", static_cast<int>(first), static_cast<int>(second),
              static_cast<int>(sales.load().value()));
  return first == 30 && second == 30 && sales.load().value() == 30 ? 0 : 1;
}
