// SPDX-License-Identifier: BSL-1.0

#include "explained.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "text.hpp"

namespace lab {

namespace {

constexpr std::size_t page = 98;
constexpr std::size_t margin = 4;

// Returns: the text in lines of at most that width, broken between words where that is possible.
std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> out;
  while (text.size() > width) {
    std::size_t at = text.rfind(' ', width);
    if (at == std::string_view::npos || at == 0) at = width;
    out.emplace_back(text.substr(0, at));
    text.remove_prefix(at);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  out.emplace_back(text);
  return out;
}

std::string painted(const std::string& text, const char* code, const look& how) {
  return how.colour ? std::string("\033[") + code + "m" + text + "\033[0m" : text;
}

// Where the columns of a table begin.
struct columns {
  std::size_t width;  // of a lane, with the space behind it

  [[nodiscard]] std::size_t of(std::size_t lane) const { return margin + lane * width; }
};

std::string line_at(std::size_t column, const std::string& shown, std::size_t size,
                    std::size_t place_column, const std::string& place) {
  std::string out = std::string(column, ' ') + shown;
  if (!place.empty()) out += std::string(place_column - column - size, ' ') + place;
  return out + '\n';
}

// A step is marked by colour and by a star before it.
std::string step_lines(const event& step, const std::string& place, const columns& at,
                       std::size_t lanes, const look& how) {
  std::string out;
  const std::string text = (step.harmful ? "* " : "") + step.text;
  std::string where = place;
  for (const std::string& part : wrapped(text, at.width - 2)) {
    const std::string shown = step.harmful ? painted(part, "1;31", how) : part;
    out += line_at(at.of(step.lane), shown, part.size(), at.of(lanes), where);
    where.clear();
  }
  return out;
}

std::string interleaving(const explored_form& found, const look& how) {
  const timeline& drawn = *found.losing;
  const std::size_t lanes = std::max<std::size_t>(drawn.lanes.size(), 1);
  std::size_t longest = 0;
  for (const std::string& each : found.places) longest = std::max(longest, each.size());
  const columns at{std::min<std::size_t>(40, (page - margin - longest) / lanes)};
  std::string names(margin, ' ');
  for (std::size_t i = 0; i < drawn.lanes.size(); ++i) {
    names.resize(at.of(i), ' ');
    names += drawn.lanes[i].substr(0, at.width - 2);
  }
  std::string out = painted(names, "2", how) + '\n';
  for (std::size_t i = 0; i < drawn.events.size(); ++i) {
    const std::string place = i < found.places.size() ? found.places[i] : "";
    out += step_lines(drawn.events[i], place, at, lanes, how);
  }
  return out;
}

std::string form_block(const explored_form& found, const look& how) {
  const std::string name(found.of->name);
  std::string out = "  " + painted(name, "1", how) + " (" + std::string(found.of->how) + ")\n";
  const std::string verdict = found.verdict();
  out += "    " + painted(verdict, found.failure.empty() ? "32" : "1;31", how) + '\n';
  if (found.losing && !found.losing->events.empty()) out += interleaving(found, how);
  if (!found.race.empty()) {
    out += "    with a plain variable in place of the atomic: a data race on top, found as well\n";
  }
  return out;
}

}  // namespace

std::string explained(const run_result& run, const look& how) {
  std::string out;
  for (const scenario_result& each : run.scenarios) {
    if (!out.empty()) out += '\n';
    for (const std::string& part :
         wrapped(std::string(each.of->name) + ": " + std::string(each.of->story), page)) {
      out += part + '\n';
    }
    for (const explored_form& found : each.explored) out += form_block(found, how);
  }
  return out;
}

}  // namespace lab
