// SPDX-License-Identifier: BSL-1.0
#pragma once

// The three pictures of a scenario, each with the same facts as text or as a table beside it.

#include <string>
#include <string_view>

#include "result.hpp"

namespace lab {

// Returns: the class under which the page styles a role: "naive", "wrong", "fixed", "plain".
std::string_view style_of(role kind);

// Returns: expected against got, a bar for each form that ran.
std::string bars(const scenario_result& of);

// Returns: the steps of a round in their order, a lane for each thread, the losing step marked.
std::string steps(const timeline& drawn);

// Returns: the price of each form by number of threads, with whiskers from the fastest to the
//          slowest repetition and a line at the number of CPUs; "" if no form has a price.
std::string cost_chart(const scenario_result& of, unsigned cpus);

// Returns: the same prices as a table.
std::string cost_table(const scenario_result& of);

}  // namespace lab
