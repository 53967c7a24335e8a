// SPDX-License-Identifier: BSL-1.0
#pragma once

// Small words that several parts of the lab write.

#include <cstdint>
#include <string>
#include <string_view>

namespace lab {

// Returns: value with `decimals` places, in the C locale.
std::string fixed_point(double value, int decimals);

// Returns: nanoseconds as a bare number that is short and has two or three good digits.
std::string nanoseconds(double value);

// Returns: a name that came from outside, in quotes, on one line and short.
std::string in_quotes(std::string_view name);

}  // namespace lab
