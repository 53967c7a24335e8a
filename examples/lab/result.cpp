// SPDX-License-Identifier: BSL-1.0

#include "result.hpp"

namespace lab {

std::vector<std::string> surprises(const run_result& run) {
  std::vector<std::string> out;
  for (const scenario_result& each : run.scenarios) {
    const std::string name(each.of->name);
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
