// SPDX-License-Identifier: BSL-1.0

#include "progress.hpp"

#include <algorithm>
#include <cmath>

namespace lab {

namespace {

constexpr unsigned widest_bar = 40;
constexpr unsigned text_room = 40;  // for the percentage and the name of what runs

std::string bar(double done, unsigned width, bool utf8) {
  const auto full = static_cast<unsigned>(std::lround(done * width));
  std::string out;
  for (unsigned i = 0; i < width; ++i) {
    if (i < full) {
      out += utf8 ? "\xe2\x94\x81" : "#";  // heavy line
    } else {
      out += utf8 ? "\xe2\x94\x80" : ".";  // light line
    }
  }
  return out;
}

}  // namespace

progress::progress() : on_(redraws(stderr)), look_(look_of(stderr)) {}

void progress::show(double done, std::string_view at) {
  if (!on_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(50);

  done = std::clamp(done, 0.0, 1.0);
  const unsigned room = columns(stderr);
  const unsigned width = room > text_room ? std::min(widest_bar, room - text_room) : 0;
  const auto percent = static_cast<int>(done * 100);
  std::string text(at.substr(0, text_room - 8));
  if (width == 0) text = text.substr(0, room > 8 ? room - 8 : 0);
  std::fprintf(stderr, "\r%s%s%s %3d%%  %s\033[K", look_.colour ? "\033[36m" : "",
               bar(done, width, look_.utf8).c_str(), look_.colour ? "\033[0m" : "", percent,
               text.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void progress::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace lab
