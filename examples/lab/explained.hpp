// SPDX-License-Identifier: BSL-1.0
#pragma once

// What `lab --explain` prints.

#include <string>

#include "result.hpp"
#include "terminal.hpp"

namespace lab {

// Returns: for each scenario its forms, and for those that lose the interleaving as a table with a
//          column for each lane. Fits 100 columns.
std::string explained(const run_result& run, const look& how);

}  // namespace lab
