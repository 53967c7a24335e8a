// SPDX-License-Identifier: BSL-1.0
// A counter, a stock and a value that all clients of a PostgreSQL share.
// Prints: not enough / 5 hits, 3 in stock, 300 in the wallet

#include <interlock/postgres/bounded_counter.hpp>
#include <interlock/postgres/counter.hpp>
#include <interlock/postgres/versioned.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <cstdio>

namespace postgres = interlock::postgres;
using interlock::testing::throwaway_postgres;

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    return 0;
  }
  const throwaway_postgres server;
  postgres::client db(server.url());

  postgres::counter hits(db, "hits");
  hits.add(5).value();  // throws if it was not done

  postgres::bounded_counter stock(db, "stock", {.value = 3, .low = 0, .high = 100});
  if (stock.try_sub(5).conflicted()) std::puts("not enough");

  postgres::versioned<int> wallet(db, "wallet");
  wallet.update([](int& money) { money += 300; }).value();  // anew on conflict

  const auto count = hits.load().value(), left = stock.load().value();
  const int money = wallet.load().value().value.value_or(0);
  std::printf("%d hits, %d in stock, %d in the wallet\n", static_cast<int>(count),
              static_cast<int>(left), money);
  return count == 5 && left == 3 && money == 300 ? 0 : 1;
}
