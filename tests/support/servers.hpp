// SPDX-License-Identifier: BSL-1.0
#pragma once

// Whether the servers are there that a test needs. Where they are missing, a test says so and
// is skipped; with INTERLOCK_REQUIRE_SERVERS=1, as in CI, it fails.

#include <interlock/testing/throwaway_postgres.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/skipped.hpp"

namespace support {

// Returns: `there`; if not, says so, or fails the test where servers are demanded.
[[nodiscard]] inline bool need(bool there, const std::string& what) {
  if (there) return true;
  const char* const demanded = std::getenv("INTERLOCK_REQUIRE_SERVERS");
  if (demanded != nullptr && std::string_view(demanded) == "1") FAIL("no " << what);
  std::printf("skipped: no %s\n", what.c_str());
  skipped = true;
  return false;
}

[[nodiscard]] inline bool need_redis() {
  return need(interlock::testing::throwaway_redis::available(), "redis-server");
}

[[nodiscard]] inline bool need_postgres() {
  return need(interlock::testing::throwaway_postgres::available(), "postgresql");
}

}  // namespace support
