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

// What the model explorer found: the form's small round in every interleaving.
struct explored_form {
  const form* of = nullptr;
  std::uint64_t executions = 0;  // that ended right
  bool whole = false;            // there are no more
  std::string failure;           // what happened in the next one; empty: none fails
  std::string race;              // what is found on top if it writes to plain variables; may be empty
  std::optional<timeline> losing;
  std::vector<std::string> places;  // of the losing steps, as "wallet.hpp:52"

  [[nodiscard]] bool should_lose() const { return of->kind != role::fixed; }
  [[nodiscard]] bool as_told() const {
    return should_lose() ? !failure.empty() : whole && failure.empty();
  }
  // Returns: "loses in execution 2: expected 103, got 101" or "all 6 executions explored, none
  // loses".
  [[nodiscard]] std::string verdict() const;
};

struct scenario_result {
  const scenario* of = nullptr;
  std::vector<form_result> forms;       // in the order of of->forms; none if it was only explored
  std::vector<explored_form> explored;  // none if there is no explorer

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
  std::string engine;  // what it ran on, see opened_engine; empty: this process
  bool only_explored = false;    // not run on real threads
  std::string explorer_failure;  // why there is nothing explored; empty if that is as it should be
};

// Returns: one sentence per form that did not do what its story tells, and one if the explorer failed;
//          empty if all is as told.
std::vector<std::string> surprises(const run_result& run);

}  // namespace lab
