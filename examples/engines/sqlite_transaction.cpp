// SPDX-License-Identifier: BSL-1.0
// A purchase: money, stock and a row of one's own table, together or not at all.
// Prints: 200 left, 1 sold, order: lamp

#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/transaction.hpp>
#include <interlock/sqlite/versioned.hpp>

#include <cstdio>
#include <string>

namespace sqlite = interlock::sqlite;

int main() {
  sqlite::client db(":memory:");  // or a file
  const sqlite::versioned<int> wallet(db, "wallet");
  const sqlite::counter sold(db, "sold");
  wallet.store(500).value();
  sqlite::atomically(db, [](sqlite::transaction& t) {
    t.execute("CREATE TABLE orders(item TEXT, price INTEGER)");
  }).value();

  sqlite::atomically(db, [&](sqlite::transaction& t) {
    t.write(wallet, *t.read(wallet) - 300);
    t.add(sold, 1);
    t.execute("INSERT INTO orders(item, price) VALUES(?, ?)", "lamp", 300);
  }).value();

  const auto orders = sqlite::atomically(
      db, [](sqlite::transaction& t) { return t.execute("SELECT item FROM orders"); });
  const int left = wallet.load().value().value.value_or(0);
  std::printf("%d left, %d sold, order: %s\n", left, static_cast<int>(sold.load().value()),
              orders.value().get<std::string>(0).value_or("none").c_str());
  return left == 200 && orders->size() == 1 ? 0 : 1;
}
