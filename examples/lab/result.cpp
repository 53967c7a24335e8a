// SPDX-License-Identifier: BSL-1.0

#include "result.hpp"

namespace lab {

namespace {

std::string number_of(std::uint64_t count) {
  return std::to_string(count) + (count == 1 ? " execution" : " executions");
}

}  // namespace

std::string explored_form::verdict() const {
  if (failure.empty()) {
    if (whole) return "all " + number_of(executions) + " explored, none loses";
    return number_of(executions) + " explored, none loses; there are more";
  }
  std::string out = "loses in execution " + std::to_string(executions + 1) + ": ";
  if (!losing || losing->end.lost == 0) return out + failure;
  return out + "expected " + std::to_string(losing->end.expected) + ", got " +
         std::to_string(losing->end.got);
}

std::vector<std::string> surprises(const run_result& run) {
  std::vector<std::string> out;
  if (!run.explorer_failure.empty()) out.push_back(run.explorer_failure);
  for (const scenario_result& each : run.scenarios) {
    const std::string name(each.of->name);
    for (const explored_form& found : each.explored) {
      if (found.as_told()) continue;
      out.push_back(name + ": explored, the form '" + std::string(found.of->name) +
                    "' is not as told: " + found.verdict());
    }
    if (run.only_explored) continue;
    if (each.first(role::naive) == nullptr) out.push_back(name + " has no naive form");
    if (each.first(role::fixed) == nullptr) out.push_back(name + " has no fixed form");
    for (const form_result& found : each.forms) {
      if (found.as_told()) continue;
      const std::string who = name + ": the form '" + std::string(found.of->name) + "' ";
      const std::string rounds = std::to_string(found.rounds) + " rounds";
      if (found.should_lose()) {
        out.push_back(who + "was not seen to lose in " + rounds +
                      "; give it more time with --seconds, or more --threads");
      } else if (found.rounds == 0) {
        out.push_back(who + "has no round");
      } else {
        out.push_back(who + "lost in " + std::to_string(found.losing_rounds) + " of " + rounds +
                      " (first shown by --seed " + std::to_string(found.worst_seed) + ")");
      }
    }
  }
  return out;
}

}  // namespace lab
