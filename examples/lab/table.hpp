// SPDX-License-Identifier: BSL-1.0
#pragma once

// The table that ends a run.

#include <string>
#include <vector>

#include "result.hpp"
#include "terminal.hpp"

namespace lab {

// Returns: one line per scenario and one per further form that is judged (a tempting cure that
//          loses too), with a head and a note; within 100 columns.
std::string table(const run_result& run, const look& how);

// Returns: the names and stories of --list.
std::string list(const std::vector<const scenario*>& chosen);

}  // namespace lab
