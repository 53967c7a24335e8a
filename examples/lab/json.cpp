// SPDX-License-Identifier: BSL-1.0

#include "json.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include "text.hpp"

namespace lab {

namespace {

std::string text(std::string_view raw) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : raw) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20) {
      out += "\\u00";
      out += digits[code >> 4U];
      out += digits[code & 0xfU];
    } else {
      out += c;
    }
  }
  return out + '"';
}

// An object or an array that is put together member by member.
class members {
public:
  void add(std::string_view name, const std::string& value) {
    parts_.push_back(text(name) + ": " + value);
  }
  void add(const std::string& value) { parts_.push_back(value); }

  [[nodiscard]] std::string on_one_line(char open, char close) const {
    return open + joined(", ") + close;
  }
  [[nodiscard]] std::string on_lines(char open, char close, int depth) const {
    if (parts_.empty()) return {open, close};
    const std::string margin(static_cast<std::size_t>(depth) * 2, ' ');
    return open + ("\n  " + margin) + joined(",\n  " + margin) + "\n" + margin + close;
  }

private:
  [[nodiscard]] std::string joined(const std::string& between) const {
    std::string out;
    for (const std::string& part : parts_) out += (out.empty() ? "" : between) + part;
    return out;
  }
  std::vector<std::string> parts_;
};

std::string kind_of(role of) {
  switch (of) {
    case role::naive:
      return "naive";
    case role::still_wrong:
      return "still_wrong";
    case role::fixed:
      return "fixed";
    case role::plain:
      return "plain";
  }
  return "";
}

std::string form_object(const form_result* of, bool with_kind) {
  if (of == nullptr) return "null";
  members out;
  if (with_kind) out.add("kind", text(kind_of(of->of->kind)));
  out.add("got", std::to_string(of->worst.got));
  out.add("lost", std::to_string(of->lost()));
  out.add("rounds", std::to_string(of->rounds));
  out.add("losing_rounds", std::to_string(of->losing_rounds));
  return out.on_one_line('{', '}');
}

std::string other_forms(const scenario_result& of) {
  members out;
  for (const form_result& each : of.forms) {
    if (&each == of.first(role::naive) || &each == of.first(role::fixed)) continue;
    if (each.rounds > 0) out.add(each.of->name, form_object(&each, true));
  }
  return out.on_one_line('{', '}');
}

std::string price(const form_result* of) {
  const cost_point* const alone = of == nullptr ? nullptr : of->cost_at(1);
  return alone == nullptr ? "null" : fixed_point(alone->median, 2);
}

std::string prices(const scenario_result& of) {
  members rows;
  std::vector<unsigned> counts;
  for (const form_result& each : of.forms) {
    if (each.cost.size() > counts.size()) {
      counts.clear();
      for (const cost_point& point : each.cost) counts.push_back(point.threads);
    }
  }
  for (const unsigned threads : counts) {
    members line;
    line.add("threads", std::to_string(threads));
    for (const form_result& each : of.forms) {
      const cost_point* const point = each.cost_at(threads);
      if (point == nullptr) continue;
      members value;
      value.add("median", fixed_point(point->median, 2));
      value.add("low", fixed_point(point->low, 2));
      value.add("high", fixed_point(point->high, 2));
      line.add(each.of->name, value.on_one_line('{', '}'));
    }
    rows.add(line.on_one_line('{', '}'));
  }
  members out;
  out.add("naive", price(of.first(role::naive)));
  out.add("fixed", price(of.first(role::fixed)));
  out.add("mutex", price(of.first(role::plain)));
  out.add("by_threads", rows.on_lines('[', ']', 3));
  return out.on_lines('{', '}', 2);
}

std::string steps(const form_result* of) {
  members out;
  if (of == nullptr || !of->losing_round) return "[]";
  const timeline& drawn = *of->losing_round;
  for (const event& each : drawn.events) {
    members step;
    step.add("lane", text(each.lane < drawn.lanes.size() ? drawn.lanes[each.lane] : ""));
    step.add("text", text(each.text));
    step.add("harmful", each.harmful ? "true" : "false");
    out.add(step.on_one_line('{', '}'));
  }
  return out.on_lines('[', ']', 2);
}

std::string explored_steps(const explored_form& found) {
  members out;
  if (!found.losing) return "[]";
  for (std::size_t i = 0; i < found.losing->events.size(); ++i) {
    const event& each = found.losing->events[i];
    members step;
    step.add("lane", text(found.losing->lanes[each.lane]));
    step.add("text", text(each.text));
    step.add("harmful", each.harmful ? "true" : "false");
    step.add("place", text(found.places[i]));
    out.add(step.on_one_line('{', '}'));
  }
  return out.on_lines('[', ']', 4);
}

// null if there was no explorer.
std::string explored(const scenario_result& of) {
  if (of.explored.empty()) return "null";
  members out;
  for (const explored_form& found : of.explored) {
    members form;
    form.add("kind", text(kind_of(found.of->kind)));
    form.add("loses", found.failure.empty() ? "false" : "true");
    form.add("executions", std::to_string(found.executions));
    form.add("whole", found.whole ? "true" : "false");
    form.add("verdict", text(found.verdict()));
    form.add("data_race_if_plain", found.race.empty() ? "false" : "true");
    form.add("interleaving", explored_steps(found));
    out.add(found.of->name, form.on_lines('{', '}', 3));
  }
  return out.on_lines('{', '}', 2);
}

std::string scenario_object(const scenario_result& of) {
  const form_result* const naive = of.first(role::naive);
  members out;
  if (of.forms.empty() && !of.explored.empty()) {
    out.add("unit", text(of.of->unit));
    out.add("explored", explored(of));
    return out.on_lines('{', '}', 1);
  }
  out.add("expected", naive == nullptr ? "null" : std::to_string(naive->worst.expected));
  out.add("unit", text(of.of->unit));
  out.add("naive", form_object(naive, false));
  out.add("fixed", form_object(of.first(role::fixed), false));
  out.add("other_forms", other_forms(of));
  out.add("ns_per_op", prices(of));
  out.add("timeline", steps(naive));
  out.add("explored", explored(of));
  return out.on_lines('{', '}', 1);
}

}  // namespace

std::string json(const run_result& run) {
  members out;
  for (const scenario_result& each : run.scenarios) out.add(each.of->name, scenario_object(each));
  return out.on_lines('{', '}', 0) + "\n";
}

}  // namespace lab
