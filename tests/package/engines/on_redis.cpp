// SPDX-License-Identifier: BSL-1.0
// The headers of Interlock and the client library, by the target interlock::redis. Nobody listens on
// that socket.

#include <interlock/counter.hpp>

#include <hiredis/hiredis.h>

#include <cstdio>

int main() {
  redisContext* const context = redisConnectUnix("/nonexistent/socket");
  const bool refused = context != nullptr && context->err != 0;
  std::printf("hiredis %d.%d: %s\n", HIREDIS_MAJOR, HIREDIS_MINOR, refused ? context->errstr : "");
  redisFree(context);
  return refused ? 0 : 1;
}
