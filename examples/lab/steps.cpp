// SPDX-License-Identifier: BSL-1.0

#include <algorithm>

#include "html.hpp"
#include "pictures.hpp"

namespace lab {

namespace {

using html::escape;
using html::number;

constexpr std::size_t most_steps = 24;

struct window {
  std::size_t begin;
  std::size_t end;
};

// Returns: the steps to show: all, or those around the first harmful one.
window around_harm(const std::vector<event>& events) {
  if (events.size() <= most_steps) return {0, events.size()};
  const auto harmful =
      std::find_if(events.begin(), events.end(), [](const event& e) { return e.harmful; });
  const auto at = harmful == events.end() ? events.size() - 1
                                          : static_cast<std::size_t>(harmful - events.begin());
  const std::size_t end = std::min(events.size(), std::max(at + 5, most_steps));
  return {end - most_steps, end};
}

std::string left_out(std::size_t count, std::string_view where) {
  if (count == 0) return "";
  return "<p class=\"left-out\">" + number(static_cast<std::uint64_t>(count)) + " steps " +
         std::string(where) + " left out</p>\n";
}

}  // namespace

// A list on a grid instead of a drawing: its text wraps on a narrow screen, and a screen reader
// reads the steps in their order.
std::string steps(const timeline& drawn) {
  const window shown = around_harm(drawn.events);
  std::vector<std::string> lanes;
  for (std::size_t i = 0; i < drawn.lanes.size(); ++i) {
    const std::string& name = drawn.lanes[i];
    lanes.push_back(escape(name.empty() ? "thread " + std::to_string(i + 1) : name));
  }

  std::string out = left_out(shown.begin, "before this");
  out += "<div class=\"lanes\" style=\"--lanes:" + std::to_string(lanes.size()) + "\">\n";
  out += "<div class=\"names\" aria-hidden=\"true\">";
  for (const std::string& name : lanes) out += "<b>" + name + "</b>";
  out += "</div>\n<ol start=\"" + std::to_string(shown.begin + 1) + "\">\n";
  for (std::size_t i = shown.begin; i < shown.end; ++i) {
    const event& each = drawn.events[i];
    out += "<li" + std::string(each.harmful ? " class=\"harm\"" : "") +
           " style=\"--lane:" + std::to_string(each.lane) + "\"><i aria-hidden=\"true\">" +
           std::to_string(i + 1) + "</i><span><span class=\"aside\">" + lanes[each.lane] +
           ": </span>" + escape(each.text) +
           (each.harmful ? "<small>here it goes wrong</small>" : "") + "</span></li>\n";
  }
  out += "</ol>\n</div>\n";
  return out + left_out(drawn.events.size() - shown.end, "after this");
}

}  // namespace lab
