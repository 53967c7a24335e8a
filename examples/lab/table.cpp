// SPDX-License-Identifier: BSL-1.0

#include "table.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "text.hpp"

namespace lab {

namespace {

constexpr std::array<std::string_view, 7> head{"scenario",
                                               "expected",
                                               "naive got",
                                               "lost",
                                               "fixed got",
                                               "lost",
                                               "ns per operation naive/fixed"};

enum class tone { plain, faint, bad, good };

struct cell {
  std::string text;
  tone shade = tone::plain;
};

using row = std::array<cell, head.size()>;

cell lost_cell(const form_result& of) {
  return {std::to_string(of.lost()), of.losing_rounds > 0 ? tone::bad : tone::good};
}

std::string price(const form_result* of) {
  const cost_point* const alone = of == nullptr ? nullptr : of->cost_at(1);
  return alone == nullptr ? "-" : nanoseconds(alone->median);
}

std::string prices(const form_result* naive, const form_result* fixed) {
  const std::string left = price(naive);
  const std::string right = price(fixed);
  if (left == "-" && right == "-") return "-";
  // The slashes stand below each other.
  constexpr std::size_t room = 7;
  return left + " / " + std::string(right.size() < room ? room - right.size() : 0, ' ') + right;
}

// The line of a scenario: its first naive form against its first fixed one.
row main_row(const scenario_result& of) {
  const form_result* const naive = of.first(role::naive);
  const form_result* const fixed = of.first(role::fixed);
  row out;
  out[0] = {std::string(of.of->name)};
  if (naive != nullptr) {
    out[1] = {std::to_string(naive->worst.expected)};
    out[2] = {std::to_string(naive->worst.got)};
    out[3] = lost_cell(*naive);
  }
  if (fixed != nullptr) {
    out[4] = {std::to_string(fixed->worst.got)};
    out[5] = lost_cell(*fixed);
  }
  out[6] = {prices(naive, fixed)};
  return out;
}

// The line of a further form below it: in the columns of its kind.
row form_row(const form_result& of) {
  row out;
  out[0] = {"  " + std::string(of.of->name), tone::faint};
  out[1] = {std::to_string(of.worst.expected), tone::faint};
  const std::size_t column = of.should_lose() ? 2 : 4;
  out[column] = {std::to_string(of.worst.got)};
  out[column + 1] = lost_cell(of);
  out[6] = {of.should_lose() ? prices(&of, nullptr) : prices(nullptr, &of)};
  return out;
}

std::vector<row> rows_of(const run_result& run) {
  std::vector<row> out;
  for (const scenario_result& each : run.scenarios) {
    out.push_back(main_row(each));
    for (const form_result& found : each.forms) {
      const role kind = found.of->kind;
      const bool shown = &found == each.first(role::naive) || &found == each.first(role::fixed);
      const bool worth_a_line = kind != role::plain || !found.as_told();
      if (!shown && worth_a_line && found.rounds > 0) out.push_back(form_row(found));
    }
  }
  return out;
}

std::string paint(const std::string& text, tone shade, bool colour) {
  if (!colour || shade == tone::plain) return text;
  const char* const code = shade == tone::bad ? "1;31" : shade == tone::good ? "32" : "2";
  return std::string("\033[") + code + "m" + text + "\033[0m";
}

std::string padded(const cell& of, std::size_t width, bool left, bool colour) {
  const std::string space(width - std::min(width, of.text.size()), ' ');
  const std::string text = paint(of.text, of.shade, colour);
  return left ? text + space : space + text;
}

}  // namespace

std::string table(const run_result& run, const look& how) {
  const std::vector<row> rows = rows_of(run);
  std::array<std::size_t, head.size()> width{};
  for (std::size_t i = 0; i < head.size(); ++i) {
    width[i] = head[i].size();
    for (const row& each : rows) width[i] = std::max(width[i], each[i].text.size());
  }

  std::string out;
  std::size_t all = 2 * (head.size() - 1);
  for (std::size_t i = 0; i < head.size(); ++i) {
    const cell title{std::string(head[i]), tone::faint};
    out += (i == 0 ? "" : "  ") + padded(title, width[i], i == 0, how.colour);
    all += width[i];
  }
  out += '\n';
  for (std::size_t i = 0; i < all; ++i) out += how.utf8 ? "\xe2\x94\x80" : "-";
  out += '\n';
  for (const row& each : rows) {
    std::string line;
    for (std::size_t i = 0; i < head.size(); ++i) {
      line += (i == 0 ? "" : "  ") + padded(each[i], width[i], i == 0, how.colour);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  out += paint("lost: naive in its worst round, fixed in all its rounds; ns: wall time, 1 thread",
               tone::faint, how.colour) +
         '\n';
  return out;
}

std::string list(const std::vector<const scenario*>& chosen) {
  std::size_t width = 0;
  for (const scenario* each : chosen) width = std::max(width, each->name.size());
  std::string out;
  for (const scenario* each : chosen) {
    out += std::string(each->name) + std::string(width - each->name.size() + 2, ' ') +
           std::string(each->story) + '\n';
  }
  return out;
}

}  // namespace lab
