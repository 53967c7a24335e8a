// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <cstdlib>

#include "html.hpp"
#include "pictures.hpp"

namespace lab {

namespace {

using html::escape;
using html::number;
using html::percent;

// Where a value stands on the common scale of a scenario's bars, 0 to 1.
class scale {
public:
  explicit scale(const scenario_result& of) {
    for (const form_result& each : of.forms) {
      low_ = std::min({low_, each.worst.got, each.worst.expected});
      high_ = std::max({high_, each.worst.got, each.worst.expected});
    }
    if (high_ == low_) high_ = low_ + 1;
  }
  [[nodiscard]] double operator()(std::int64_t value) const {
    constexpr double margin = 0.004;  // a line at either end stays inside
    const double share = static_cast<double>(value - low_) / static_cast<double>(high_ - low_);
    return margin + share * (1 - 2 * margin);
  }
  [[nodiscard]] bool goes_below_zero() const { return low_ < 0; }

private:
  std::int64_t low_ = 0;
  std::int64_t high_ = 0;
};

std::string rectangle(double from, double to, std::string_view style) {
  return "<rect class=\"" + std::string(style) + "\" x=\"" + percent(std::min(from, to)) +
         "\" y=\"3\" width=\"" + percent(std::abs(to - from)) + "\" height=\"16\"/>";
}

std::string rule(double at, std::string_view style) {
  return "<line class=\"" + std::string(style) + "\" x1=\"" + percent(at) + "\" y1=\"0\" x2=\"" +
         percent(at) + "\" y2=\"22\"/>";
}

// The bar: solid as far as expected and got agree, hatched where they differ.
std::string bar(const form_result& of, const scale& at) {
  const std::int64_t expected = of.worst.expected;
  const std::int64_t got = of.worst.got;
  const bool same_side = (got < 0) == (expected < 0);
  const std::int64_t common = !same_side     ? 0
                              : expected < 0 ? std::max(got, expected)
                                             : std::min(got, expected);
  std::string out = "<svg class=\"bar\" width=\"100%\" height=\"22\" aria-hidden=\"true\">";
  out += rectangle(0, 1, "track") + rectangle(at(0), at(common), "solid");
  if (got != expected) out += rectangle(at(got), at(expected), "off");
  if (at.goes_below_zero()) out += rule(at(0), "zero");
  out += rule(at(expected), "expected");
  return out + "</svg>";
}

std::string verdict(const form_result& of) {
  const std::string rounds = number(of.rounds) + (of.rounds == 1 ? " round" : " rounds");
  const std::string got = "got <b>" + number(of.worst.got) + "</b>, ";
  if (of.losing_rounds == 0) return got + "<b class=\"none\">lost nothing</b> in " + rounds;
  return got + "<b class=\"loss\">lost " + number(of.lost()) + "</b>; " + number(of.losing_rounds) +
         " of " + rounds + " lost";
}

}  // namespace

std::string_view style_of(role kind) {
  switch (kind) {
    case role::naive:
      return "naive";
    case role::still_wrong:
      return "wrong";
    case role::fixed:
      return "fixed";
    case role::plain:
      return "plain";
  }
  return "plain";
}

std::string bars(const scenario_result& of) {
  const scale at(of);
  std::string out = "<ul class=\"bars\">\n";
  for (const form_result& each : of.forms) {
    if (each.rounds == 0) continue;
    out += "<li class=\"" + std::string(style_of(each.of->kind)) + "\"><div class=\"form\"><b>" +
           escape(each.of->name) + "</b> <code>" + escape(each.of->how) + "</code></div>" +
           bar(each, at) + "<div class=\"verdict\">" + verdict(each) + "</div></li>\n";
  }
  return out + "</ul>\n";
}

}  // namespace lab
