// SPDX-License-Identifier: BSL-1.0
// The headers of Interlock and the client library, by the target interlock::postgres. Nobody listens
// on that socket.

#include <interlock/counter.hpp>

#include <libpq-fe.h>

#include <cstdio>

int main() {
  PGconn* const connection = PQconnectdb("host=/nonexistent");
  const bool refused = PQstatus(connection) == CONNECTION_BAD;
  std::printf("libpq %d: %s", PQlibVersion(), PQerrorMessage(connection));
  PQfinish(connection);
  return refused ? 0 : 1;
}
