// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/begin_anew.hpp - what all caches of a process share, as it is at its start. A run
// that the explorer has abandoned leaves it as it was.

#include <interlock/detail/column.hpp>
#include <interlock/detail/readers.hpp>
#include <interlock/detail/restartable.hpp>

#include <cstdint>

inline void begin_anew(std::uint32_t threads) {
  interlock::detail::readers::start_anew(threads);
  interlock::detail::the_columns.start_anew(interlock::detail::restartable::rows());
}

// Before the first exploration, which would have to free it.
inline const bool has_begun = [] {
  begin_anew(1);
  return true;
}();
