// SPDX-License-Identifier: BSL-1.0
// One holder at a time on this machine, and a number that only the present holder can write.
// Prints: 99 in stock, the gate is free

#include <interlock/sqlite/fenced.hpp>
#include <interlock/sqlite/mutex.hpp>
#include <interlock/sqlite/observed_mutex.hpp>

#include <chrono>
#include <cstdio>

namespace sqlite = interlock::sqlite;
using namespace std::chrono_literals;

int main() {
  sqlite::client db(":memory:");  // or a file

  sqlite::mutex door(db, "door");
  auto guard = door.lock({.lease = 5s}).value();
  sqlite::fenced<int> stock(db, "stock");
  auto now = stock.open(guard).value();  // from here on earlier holders are refused
  stock.write(now, now.value.value_or(100) - 1).value();
  const int left = stock.open(guard).value().value.value_or(0);
  guard.unlock().value();

  sqlite::observed_mutex gate(db, "gate");
  const bool free = gate.try_lock().applied();
  std::printf("%d in stock, the gate is %s\n", left, free ? "free" : "taken");
  return left == 99 && free ? 0 : 1;
}
