// SPDX-License-Identifier: BSL-1.0
#pragma once

// Text as it goes into the page.

#include <cstdint>
#include <string>
#include <string_view>

namespace lab::html {

// Returns: text with everything that HTML would read as markup escaped, quotes included.
std::string escape(std::string_view text);

// Returns: a whole number with narrow spaces between groups of three digits and a true minus sign.
std::string number(std::int64_t value);
std::string number(std::uint64_t value);

// Returns: nanoseconds in the unit that reads best: "1.9 ns", "12 &micro;s".
std::string duration(double nanoseconds);

// Returns: a share as a percentage for SVG and CSS: "37.5%".
std::string percent(double share);

}  // namespace lab::html
