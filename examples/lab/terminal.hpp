// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the stream that we write to can show.

#include <cstdio>

namespace lab {

struct look {
  bool colour = false;  // escape sequences
  bool utf8 = false;    // more than ASCII
};

// Effects: takes over the character set of the user's locale.
// Returns: what the stream can show: colour only on a terminal and not with NO_COLOR, UTF-8 only if
//          the locale says so.
look look_of(std::FILE* stream);

// Returns: true if the stream is a terminal that can redraw a line.
bool redraws(std::FILE* stream);

// Returns: the terminal's columns; 80 if it does not say.
unsigned columns(std::FILE* stream);

}  // namespace lab
