// SPDX-License-Identifier: BSL-1.0
#pragma once

// The program lab-explain beside the lab: runs it and reads what it found.

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "result.hpp"

namespace lab {

// lab-explain ended badly or said what this lab does not understand; what() is one line.
class explorer_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// Returns: where lab-explain is: in the folder of the running program; "" if it is not there.
std::string find_explorer();

// Returns: for each scenario what the explorer program found.
// Throws: explorer_error.
std::vector<std::vector<explored_form>> explore(const std::string& program,
                                                const std::vector<const scenario*>& chosen);

// Returns: the same, from what the program has printed. Throws: explorer_error.
std::vector<std::vector<explored_form>> read_explored(std::string_view printed,
                                                      const std::vector<const scenario*>& chosen);

}  // namespace lab
