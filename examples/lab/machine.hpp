// SPDX-License-Identifier: BSL-1.0
#pragma once

// Where and how a run was made: what a reader needs to judge its figures.

#include <string>
#include <utility>
#include <vector>

namespace lab {

struct machine {
  unsigned cpus = 1;  // that this process may use; 1 if unknown
  // What to print, in order: label and value.
  std::vector<std::pair<std::string, std::string>> facts;
};

// Returns: this machine, build and moment.
machine this_machine();

}  // namespace lab
