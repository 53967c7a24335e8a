// SPDX-License-Identifier: BSL-1.0
#pragma once

// The code of the std::system_error that f throws.

#include <system_error>

namespace support {

// Returns: the code; std::errc() if f throws none.
template <class F>
std::errc code_of(F&& f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}

}  // namespace support
