// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "html.hpp"
#include "pictures.hpp"
#include "text.hpp"

namespace lab {

namespace {

using html::duration;
using html::escape;
using html::percent;

// The drawing's geometry: across in shares of its width, so that text keeps its size on every
// screen; down in pixels.
constexpr double left = 0.16;
constexpr double right = 0.97;
constexpr double top = 26;
constexpr double bottom = 206;
constexpr double height = 248;

std::string pixels(double value) {
  return fixed_point(value, 1);
}

std::vector<const form_result*> priced_forms(const scenario_result& of) {
  std::vector<const form_result*> out;
  for (const form_result& each : of.forms) {
    if (!each.cost.empty()) out.push_back(&each);
  }
  return out;
}

// Returns: the class of a series; a second form in the same role is told apart by " again".
std::string style_among(const std::vector<const form_result*>& forms, const form_result& of) {
  const role kind = of.of->kind;
  const auto first = std::find_if(forms.begin(), forms.end(),
                                  [&](const form_result* each) { return each->of->kind == kind; });
  return std::string(style_of(kind)) + (*first == &of ? "" : " again");
}

std::set<unsigned> thread_counts(const std::vector<const form_result*>& forms) {
  std::set<unsigned> out;
  for (const form_result* each : forms) {
    for (const cost_point& point : each->cost) out.insert(point.threads);
  }
  return out;
}

// Both axes are logarithmic: threads double from mark to mark, prices span decades.
class axes {
public:
  explicit axes(const std::vector<const form_result*>& forms) {
    const std::set<unsigned> counts = thread_counts(forms);
    first_ = std::log2(*counts.begin());
    last_ = std::max(std::log2(*counts.rbegin()), first_ + 1);
    double low = forms.front()->cost.front().low;
    double high = low;
    for (const form_result* each : forms) {
      for (const cost_point& point : each->cost) {
        low = std::min(low, point.low);
        high = std::max(high, point.high);
      }
    }
    low_ = std::log10(tick_below(low));
    high_ = -std::log10(tick_below(1 / high));
    for (int decade = static_cast<int>(std::floor(low_)); decade <= high_; ++decade) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double price = digit * std::pow(10.0, decade);
        const double at = std::log10(price) + tolerance;
        const bool few = high_ - low_ < 1.5;  // decades alone would leave the axis bare
        if ((digit == 1.0 || few) && at >= low_ && at <= high_ + 2 * tolerance) {
          ticks_.push_back(price);
        }
      }
    }
  }

  [[nodiscard]] double x(double threads) const {
    return left + (right - left) * (std::log2(threads) - first_) / (last_ - first_);
  }
  [[nodiscard]] double y(double price) const {
    return bottom - (bottom - top) * (std::log10(price) - low_) / (high_ - low_);
  }
  [[nodiscard]] bool has(double threads) const {
    return std::log2(threads) >= first_ && std::log2(threads) <= last_;
  }
  [[nodiscard]] const std::vector<double>& ticks() const { return ticks_; }

private:
  static constexpr double tolerance = 1e-9;

  // Returns: the largest of 1, 2, 5, 10, 20, ... not above value.
  static double tick_below(double value) {
    const double decade = std::pow(10.0, std::floor(std::log10(value) + tolerance));
    const double digit = value / decade;
    return decade * (digit >= 5 - tolerance ? 5 : digit >= 2 - tolerance ? 2 : 1);
  }

  double first_;
  double last_;
  double low_;
  double high_;
  std::vector<double> ticks_;
};

std::string line(std::string_view style, double x1, double y1, double x2, double y2) {
  return "<line class=\"" + std::string(style) + "\" x1=\"" + percent(x1) + "\" y1=\"" +
         pixels(y1) + "\" x2=\"" + percent(x2) + "\" y2=\"" + pixels(y2) + "\"/>";
}

std::string label(std::string_view style, double x, double y, const std::string& words) {
  return "<text class=\"" + std::string(style) + "\" x=\"" + percent(x) + "\" y=\"" + pixels(y) +
         "\">" + words + "</text>";
}

// Returns: "5 ns": a duration without its needless decimal.
std::string tick(double price) {
  std::string out = html::duration(price);
  const std::size_t at = out.find(".0&");
  return at == std::string::npos ? out : out.erase(at, 2);
}

std::string grid(const axes& at, const std::set<unsigned>& counts, unsigned cpus) {
  std::string out;
  for (const double price : at.ticks()) {
    out += line("grid", left, at.y(price), right, at.y(price));
    out += "<g transform=\"translate(-10 4)\">" + label("end", left, at.y(price), tick(price)) +
           "</g>";
  }
  for (const unsigned threads : counts) {
    out += label("middle", at.x(threads), bottom + 20, std::to_string(threads));
  }
  out += label("middle", (left + right) / 2, bottom + 38, "threads");
  if (at.has(cpus)) {
    const std::string words = std::to_string(cpus) + (cpus == 1 ? " CPU" : " CPUs");
    out += line("cpus", at.x(cpus), top - 10, at.x(cpus), bottom);
    out += label("middle", at.x(cpus), top - 14, words);
  }
  return out + "\n";
}

// A mark for each series that is told apart without its colour.
std::string mark(role kind, double x, double y) {
  if (kind == role::fixed) {
    return "<circle cx=\"" + percent(x) + "\" cy=\"" + pixels(y) + "\" r=\"4\"/>";
  }
  const std::string place =
      "<svg x=\"" + percent(x) + "\" y=\"" + pixels(y) + "\" overflow=\"visible\">";
  const std::string_view shape = kind == role::plain   ? "M-4-4H4V4H-4Z"
                                 : kind == role::naive ? "M0-5L5 4H-5Z"
                                                       : "M0-5L5 0L0 5L-5 0Z";
  return place + "<path d=\"" + std::string(shape) + "\"/></svg>";
}

// `aside`: pixels to the side, so that the whiskers of two series do not cover each other.
std::string series(const form_result& of, const std::string& style, const axes& at, double aside) {
  std::string out = "<g class=\"" + style + "\" transform=\"translate(" + pixels(aside) + " 0)\">";
  for (std::size_t i = 0; i < of.cost.size(); ++i) {
    const cost_point& point = of.cost[i];
    const double x = at.x(point.threads);
    if (i > 0) {
      const cost_point& before = of.cost[i - 1];
      out += line("series", at.x(before.threads), at.y(before.median), x, at.y(point.median));
    }
    out += line("whisker", x, at.y(point.low), x, at.y(point.high));
    out += mark(of.of->kind, x, at.y(point.median));
  }
  return out + "</g>\n";
}

std::string legend(const std::vector<const form_result*>& forms) {
  std::string out = "<ul class=\"legend\">";
  for (const form_result* each : forms) {
    out += "<li class=\"" + style_among(forms, *each) +
           "\"><svg class=\"cost\" width=\"28\" height=\"12\" aria-hidden=\"true\">" +
           line("series", 0, 6, 1, 6) + mark(each->of->kind, 0.5, 6) + "</svg>" +
           escape(each->of->name) + "</li>";
  }
  return out + "</ul>\n";
}

}  // namespace

std::string cost_chart(const scenario_result& of, unsigned cpus) {
  const std::vector<const form_result*> forms = priced_forms(of);
  if (forms.empty()) return "";
  const axes at(forms);
  std::string out = legend(forms) + "<svg class=\"cost\" width=\"100%\" height=\"" +
                    pixels(height) + "\" role=\"img\" aria-label=\"Cost per operation of " +
                    escape(of.of->name) +
                    " by number of threads; the table below has the figures\">\n";
  out += grid(at, thread_counts(forms), cpus);
  double aside = -1.5 * static_cast<double>(forms.size() - 1);
  for (const form_result* each : forms) {
    out += series(*each, style_among(forms, *each), at, aside);
    aside += 3;
  }
  return out + "</svg>\n";
}

std::string cost_table(const scenario_result& of) {
  const std::vector<const form_result*> forms = priced_forms(of);
  if (forms.empty()) return "";
  std::string out = "<table><thead><tr><th scope=\"col\">threads</th>";
  for (const form_result* each : forms) {
    out += "<th scope=\"col\">" + escape(each->of->name) + "</th>";
  }
  out += "</tr></thead><tbody>\n";
  for (const unsigned threads : thread_counts(forms)) {
    out += "<tr><th scope=\"row\">" + std::to_string(threads) + "</th>";
    for (const form_result* each : forms) {
      const cost_point* const point = each->cost_at(threads);
      out += point == nullptr
                 ? "<td>&ndash;</td>"
                 : "<td>" + duration(point->median) + " <small>" + duration(point->low) +
                       " &ndash; " + duration(point->high) + "</small></td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

}  // namespace lab
