// SPDX-License-Identifier: BSL-1.0

#include "engine.hpp"

namespace lab {

// In engines/NAME.cpp, where that is built.
engine sqlite_engine();
engine redis_engine();
engine postgres_engine();

const std::vector<engine>& engines() {
  static const std::vector<engine> all {
#if defined(LAB_SQLITE)
    sqlite_engine(),
#else
    {"sqlite", "libsqlite3-dev"},
#endif
#if defined(LAB_REDIS)
        redis_engine(),
#else
        {"redis", "libhiredis-dev"},
#endif
#if defined(LAB_POSTGRES)
        postgres_engine(),
#else
        {"postgres", "libpq-dev"},
#endif
  };
  return all;
}

}  // namespace lab
