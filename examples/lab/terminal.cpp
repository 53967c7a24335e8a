// SPDX-License-Identifier: BSL-1.0

#include "terminal.hpp"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <string_view>

namespace lab {

bool redraws(std::FILE* stream) {
  const char* const terminal = std::getenv("TERM");
  return ::isatty(::fileno(stream)) != 0 && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

look look_of(std::FILE* stream) {
  std::setlocale(LC_CTYPE, "");
  const char* const no_colour = std::getenv("NO_COLOR");
  const bool wanted = no_colour == nullptr || *no_colour == '\0';
  return {wanted && redraws(stream), std::string_view(::nl_langinfo(CODESET)) == "UTF-8"};
}

unsigned columns(std::FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace lab
