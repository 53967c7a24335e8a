// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/settings.hpp - what only a client of PostgreSQL may be told.

#include <libpq-fe.h>

#include <functional>

namespace interlock::postgres {

struct settings {
  // Statements are prepared once for a connection. Behind a pooler that gives each transaction
  // another connection (pgbouncer before 1.21 with pool_mode = transaction), say false.
  bool prepare = true;
  // Makes the connections in the place of PQconnectdb, such as with the password from a vault. What
  // it returns belongs to the client, is not null, and may be broken, which is looked at. Called by
  // several threads at once.
  std::function<PGconn*()> connect{};
};

}  // namespace interlock::postgres
