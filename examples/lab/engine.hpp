// SPDX-License-Identifier: BSL-1.0
#pragma once

// The stories on a real engine: what --engine names. Each engine is built apart, from
// engines/NAME.cpp, where its client library is there; the rest of the lab knows no engine.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scenario.hpp"

namespace lab {

// A server that the rounds of an engine's scenarios use while this lives. One at a time.
class opened_engine {
public:
  opened_engine() = default;
  opened_engine(const opened_engine&) = delete;
  opened_engine& operator=(const opened_engine&) = delete;
  // Effects: removes what the scenarios made there; ends the server if it was started for the lab.
  virtual ~opened_engine() = default;

  // Returns: what a reader of the figures has to know: "redis 7.0.15, throwaway; keeps its writes
  //          through: power loss".
  [[nodiscard]] virtual std::string description() const = 0;
};

struct engine {
  std::string_view name;     // as in --engine
  std::string_view library;  // the Debian package of its client library
  // Null, as those below, if the engine is not in this build.
  const std::vector<scenario>* scenarios = nullptr;

  // Effects: connects to the server at `url`; starts one of its own if that is empty.
  // Throws: usage_error, with what to do.
  std::unique_ptr<opened_engine> (*open)(const std::string& url, unsigned threads) = nullptr;

  // Effects: does the part of another process in a scenario, as the lab that has started this one
  //          asks on standard input. Returns: the exit status.
  int (*work)() = nullptr;

  [[nodiscard]] bool built() const { return scenarios != nullptr; }
};

// Returns: sqlite, redis and postgres.
const std::vector<engine>& engines();

}  // namespace lab
