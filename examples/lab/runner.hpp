// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs the scenarios: rounds until the time is used up, a drawn round that loses, prices.

#include <functional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "result.hpp"
#include "scenario.hpp"

namespace lab {

// Called now and then with how much of the run is over (0 to 1) and what it is at.
using observer = std::function<void(double done, std::string_view at)>;

// Effects: runs each scenario for an equal share of `seconds`. A wrong form that has not lost when
//          its share is used up gets several seconds more.
// Throws: std::runtime_error naming the scenario and the form whose round threw.
run_result run(const std::vector<const scenario*>& chosen, const settings& base, double seconds,
               const observer& watch);

}  // namespace lab
