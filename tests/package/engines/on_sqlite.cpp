// SPDX-License-Identifier: BSL-1.0
// The headers of Interlock and the client library, by the target interlock::sqlite.

#include <interlock/counter.hpp>

#include <sqlite3.h>

#include <cstdio>

int main() {
  std::printf("SQLite %s\n", sqlite3_libversion());
  return sqlite3_threadsafe() ? 0 : 1;
}
