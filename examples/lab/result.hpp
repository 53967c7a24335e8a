// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a run of the lab found out: one result per form, and the questions that the table, the JSON
// file and the page ask about it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scenario.hpp"

namespace lab {

// Nanoseconds of wall time per operation, as one of `threads` threads sees it.
struct cost_point {
  unsigned threads = 1;
  double median = 0;
  double low = 0;
  double high = 0;
};

// A drawn round.
struct timeline {
  std::vector<std::string> lanes;
  std::vector<event> events;
  tally end;
};

struct form_result {
  const form* of = nullptr;
  tally worst;  // the round that lost most; the first round if none lost
  std::uint64_t worst_seed = 0;
  std::int64_t lost_in_all = 0;
  std::uint64_t rounds = 0;
  std::uint64_t losing_rounds = 0;
  std::vector<cost_point> cost;  // by threads, ascending; empty where a price says nothing
  std::optional<timeline> losing_round;

  // Returns: true for a form that the story tells about as losing.
  [[nodiscard]] bool should_lose() const {
    return of->kind == role::naive || of->kind == role::still_wrong;
  }
  // Returns: true if the form did what the story tells: the wrong ones lost, the right ones did
  // not.
  [[nodiscard]] bool as_told() const {
    if (should_lose()) return losing_rounds > 0;
    return losing_rounds == 0 && (rounds > 0 || of->kind == role::plain);
  }
  // Returns: the figure to show: the worst round of a wrong form, all rounds of a right one.
  [[nodiscard]] std::int64_t lost() const { return should_lose() ? worst.lost : lost_in_all; }
  // Returns: the price at that many threads, or nullptr.
  [[nodiscard]] const cost_point* cost_at(unsigned threads) const {
    for (const cost_point& point : cost) {
      if (point.threads == threads) return &point;
    }
    return nullptr;
  }
};

struct scenario_result {
  const scenario* of = nullptr;
  std::vector<form_result> forms;  // in the order of of->forms

  // Returns: the first form in that role, or nullptr.
  [[nodiscard]] const form_result* first(role kind) const {
    for (const form_result& each : forms) {
      if (each.of->kind == kind) return &each;
    }
    return nullptr;
  }
};

struct run_result {
  std::vector<scenario_result> scenarios;
  double seconds = 0;  // wall time of the whole run
};

// Returns: one sentence per form that did not do what its story tells; empty if all did.
std::vector<std::string> surprises(const run_result& run);

}  // namespace lab
