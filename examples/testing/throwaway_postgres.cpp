// SPDX-License-Identifier: BSL-1.0
// A PostgreSQL cluster of the test's own, killed and started again. Prints, with a path that
// varies:
//   postgresql:///postgres?host=/tmp/interlock-jJqyqw&port=5432&user=postgres
//   after the crash: 1

#include <interlock/testing/throwaway_postgres.hpp>

#include <cstdio>
#include <string>

using interlock::testing::throwaway_postgres;

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no postgresql");
    return 0;
  }
  throwaway_postgres server({.settings = {{"synchronous_commit", "on"}}});
  std::printf("%s\n", server.url().c_str());
  server.query("CREATE TABLE payments AS SELECT 1 AS paid");
  server.crash();
  server.restart();
  const std::string paid = server.query("SELECT paid FROM payments");
  std::printf("after the crash: %s", paid.c_str());
  return paid == "1\n" ? 0 : 1;
}
