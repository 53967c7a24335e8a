// SPDX-License-Identifier: BSL-1.0
// expects: keep larger values in a versioned and their versions here
#include <interlock/watermark.hpp>

#include <compare>

struct position {
  long file;
  long offset;
  long line;
  auto operator<=>(const position&) const = default;
};

#ifdef MISTAKE
interlock::watermark<position> reached(position{});
#else
interlock::watermark<long> reached(0);
#endif
