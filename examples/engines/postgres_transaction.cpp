// SPDX-License-Identifier: BSL-1.0
// A wallet, a counter and a table of one's own, changed together or not at all.
// Prints: paid: yes, no; 20 left, 1 sold, 1 order

#include <interlock/postgres/transaction.hpp>
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
  server.query("create table orders (item text, price int)");
  postgres::client db(server.url());
  const postgres::versioned<int> wallet(db, "wallet");
  const postgres::counter sales(db, "sales");
  wallet.store(50).value();

  const auto pay = [&] {
    const auto paid = postgres::atomically(db, [&](postgres::transaction& t) {
      const int money = t.read(wallet).value_or(0);
      if (money < 30) return false;
      t.write(wallet, money - 30);
      t.add(sales, 1);
      t.execute("insert into orders (item, price) values ($1, $2)", "book", 30);
      return true;
    });
    return paid.value();
  };
  const bool first = pay(), second = pay();
  const int left = wallet.load()->value.value_or(0);
  std::printf("paid: %s, %s; %d left, %d sold, %s order\n", first ? "yes" : "no",
              second ? "yes" : "no", left, static_cast<int>(sales.load().value()),
              server.query("select count(*) from orders").substr(0, 1).c_str());
  return first && !second && left == 20 ? 0 : 1;
}
