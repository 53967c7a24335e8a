// SPDX-License-Identifier: BSL-1.0

#include "text.hpp"

#include <cstdio>

namespace lab {

std::string fixed_point(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

std::string nanoseconds(double value) {
  return fixed_point(value, value < 99.95 ? 1 : 0);
}

std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 60;
  std::string out = "'";
  for (const char c : name.substr(0, longest)) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    out += control ? '?' : c;
  }
  if (name.size() > longest) out += "...";
  return out + "'";
}

}  // namespace lab
