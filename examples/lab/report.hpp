// SPDX-License-Identifier: BSL-1.0
#pragma once

// The run as one page with pictures that needs no network.

#include <string>
#include <string_view>

#include "machine.hpp"
#include "result.hpp"

namespace lab {

// Returns: the whole HTML document; `how` holds the machine and how the lab was called.
std::string report(const run_result& run, const machine& how);

// Returns: the page's style sheet.
std::string_view report_style();

}  // namespace lab
