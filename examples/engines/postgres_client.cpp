// SPDX-License-Identifier: BSL-1.0
// PostgreSQL as an engine: a counter that counts a request once, however often it is sent.
// Prints: 5 and 5, PostgreSQL ...

#include <interlock/postgres/client.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <cstdio>
#include <string>

namespace postgres = interlock::postgres;
namespace store = interlock::store;
using interlock::testing::throwaway_postgres;

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    return 0;
  }
  const throwaway_postgres server;
  const std::string address = server.url();
  const auto id = store::operation_id::fresh();

  postgres::client db(address, {.prefix = "shop"});
  const auto hits = db.object_named(store::object_kind::counter, "hits");
  const auto first = db.counter_add(hits, 5, {.id = id});
  const auto again = db.counter_add(hits, 5, {.id = id});  // the same answer

  std::printf("%d and %d, %s\n", static_cast<int>(first.value()), static_cast<int>(again.value()),
              db.probed().server.c_str());
  return first.value() == 5 && again.value() == 5 ? 0 : 1;
}
