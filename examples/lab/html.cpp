// SPDX-License-Identifier: BSL-1.0

#include "html.hpp"

#include <array>

#include "text.hpp"

namespace lab::html {

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string number(std::uint64_t value) {
  const std::string digits = std::to_string(value);
  if (digits.size() <= 4) return digits;
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += "&#8239;";
    out += digits[i];
  }
  return out;
}

std::string number(std::int64_t value) {
  const auto size = static_cast<std::uint64_t>(value);
  return value < 0 ? "&minus;" + number(std::uint64_t{0} - size) : number(size);
}

std::string duration(double nanoseconds) {
  static constexpr std::array units{"ns", "&micro;s", "ms", "s"};
  std::size_t unit = 0;
  while (nanoseconds >= 999.5 && unit + 1 < units.size()) {
    nanoseconds /= 1000;
    ++unit;
  }
  return fixed_point(nanoseconds, nanoseconds < 9.95 ? 1 : 0) + "&nbsp;" + units[unit];
}

std::string percent(double share) {
  return fixed_point(share * 100, 2) + "%";
}

}  // namespace lab::html
