// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the heap holds.

#include <malloc.h>

namespace bench {

// Returns: bytes that malloc has given out and not got back, with what it needs for itself beside
//          them; all arenas, and what it mapped one by one.
inline double heap_in_use() {
  const struct mallinfo2 now = ::mallinfo2();
  return static_cast<double>(now.uordblks) + static_cast<double>(now.hblkhd);
}

}  // namespace bench
