// SPDX-License-Identifier: BSL-1.0
// A lock that all machines share, and a resource that refuses who held it before.
// Prints: 99 left

#include <interlock/postgres/fenced.hpp>
#include <interlock/postgres/mutex.hpp>
#include <interlock/postgres/observed_mutex.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <chrono>
#include <cstdio>

namespace postgres = interlock::postgres;
using namespace std::chrono_literals;
using interlock::testing::throwaway_postgres;

namespace {

// Nobody sets the clocks of those who wait.
void trust_no_clock(postgres::client& db) {
  postgres::observed_mutex gate(db, "gate");
  auto guard = gate.lock({.lease = 5s}).value();
  guard.unlock().value();
}

}  // namespace

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    return 0;
  }
  const throwaway_postgres server;
  postgres::client db(server.url());

  postgres::mutex door(db, "door");
  auto guard = door.lock({.lease = 5s}).value();
  postgres::fenced<int> stock(db, "stock");
  auto now = stock.open(guard).value();
  stock.write(now, now.value.value_or(100) - 1).value();
  guard.unlock().value();
  trust_no_clock(db);

  auto next = door.lock({.lease = 5s}).value();
  const int left = stock.open(next).value().value.value_or(0);
  std::printf("%d left\n", left);
  return left == 99 ? 0 : 1;
}
