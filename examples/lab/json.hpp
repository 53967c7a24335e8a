// SPDX-License-Identifier: BSL-1.0
#pragma once

// The facts of a run for other programs: one object, by scenario name.

#include <string>

#include "result.hpp"

namespace lab {

// Returns: a JSON object with one member per scenario:
//   expected, unit, naive {got, lost, rounds, losing_rounds}, fixed {the same},
//   other_forms {NAME: {kind, got, lost, rounds, losing_rounds}},
//   ns_per_op {naive, fixed, mutex (1 thread), by_threads [{threads, FORM: {median, low, high}}]},
//   timeline [{lane, text, harmful}]
// A form or price that does not exist is null.
std::string json(const run_result& run);

}  // namespace lab
