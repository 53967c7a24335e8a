// SPDX-License-Identifier: BSL-1.0
// The date of a server is moved while it runs, and the test's own is not.

#include <chrono>
#include <cstdlib>
#include <string>

#include "engines/support/shifted_clock.hpp"
#include "support/catch.hpp"
#include "support/servers.hpp"

using namespace std::chrono_literals;
using interlock::testing::throwaway_postgres;
using interlock::testing::throwaway_redis;

namespace {

bool need_library() {
  return support::need(support::shifted_clock::available(), "C compiler for shifted_clock.c");
}

// Returns: seconds from the date here to the date of the server.
long long ahead(long long of_server) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return of_server - std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

long long date_of(throwaway_redis& server) {
  const std::string answer = server.command({"TIME"});  // *2, $10, the seconds, ...
  return std::stoll(answer.substr(answer.find('\n', answer.find('$')) + 1));
}

long long date_of(throwaway_postgres& server) {
  return std::stoll(server.query("SELECT floor(extract(epoch FROM clock_timestamp()))"));
}

template <class Server>
void moves(Server& server, const support::shifted_clock& clock) {
  CHECK(std::llabs(ahead(date_of(server))) <= 5);
  clock.set(10min);
  CHECK(std::llabs(ahead(date_of(server)) - 600) <= 5);
  clock.set(-10min);
  CHECK(std::llabs(ahead(date_of(server)) + 600) <= 5);
  server.restart();
  CHECK(std::llabs(ahead(date_of(server)) + 600) <= 5);
  clock.set(0s);
  CHECK(std::llabs(ahead(date_of(server))) <= 5);
}

}  // namespace

TEST_CASE("the date of a Redis is moved while it runs") {
  if (!support::need_redis() || !need_library()) return;
  const support::shifted_clock clock;
  throwaway_redis server({.environment = clock.environment()});
  moves(server, clock);
  CHECK(server.command({"SET", "lease", "1", "PX", "60000"}) == "+OK\r\n");
  clock.set(10min);  // and leases end early
  CHECK(server.command({"GET", "lease"}) == "$-1\r\n");
}

TEST_CASE("the date of a PostgreSQL is moved while it runs") {
  if (!support::need_postgres() || !need_library()) return;
  const support::shifted_clock clock;
  throwaway_postgres server({.fsync = false, .environment = clock.environment()});
  moves(server, clock);
}

TEST_CASE("without the library the date of a Redis stays") {
  if (!support::need_redis() || !need_library()) return;
  const support::shifted_clock clock;
  auto environment = clock.environment();
  environment.erase("LD_PRELOAD");
  throwaway_redis server({.environment = environment});
  clock.set(10min);
  CHECK(std::llabs(ahead(date_of(server))) <= 5);
}
