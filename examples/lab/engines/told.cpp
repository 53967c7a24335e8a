// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>

#include "world.hpp"

namespace lab {

std::string on_one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!space) out += c;
    if (space && !out.empty() && out.back() != ' ') out += ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

scenario told(std::string_view name) {
  const auto& all = scenarios();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const scenario& each) { return each.name == name; });
  if (found == all.end()) throw std::logic_error("no scenario is named " + std::string(name));
  scenario out = *found;
  out.forms.clear();
  return out;
}

}  // namespace lab
