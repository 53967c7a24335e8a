// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the command line asks for.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine.hpp"
#include "scenario.hpp"

namespace lab {

// The user asked for something that cannot be done; what() is one line that names it and says what
// to do instead.
class usage_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

struct options {
  enum class command { run, explain, list, help, version };

  command what = command::run;
  std::vector<const scenario*> scenarios;  // those named, each once; all if none is named
  settings base;                           // threads and the first seed
  double seconds = 0;                      // for the whole run
  std::string json;                        // file name, "-" for standard output, "" for none
  std::string html = "lab-report.html";    // file name, "" for none
  const engine* on = nullptr;              // null: in this process
  std::string url;                         // of the user's own server; "" for a throwaway one
};

// Returns: what the arguments (without the program's name) ask for. `known` are the scenarios of
//          this process; those of an engine are its own.
// Throws: usage_error.
options parse(const std::vector<std::string_view>& arguments, const std::vector<scenario>& known,
              const std::vector<engine>& known_engines);

// Returns: the text of --help.
std::string help();

}  // namespace lab
