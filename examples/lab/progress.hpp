// SPDX-License-Identifier: BSL-1.0
#pragma once

// A progress bar on standard error, if that is a terminal; otherwise nothing at all.

#include <chrono>
#include <string>
#include <string_view>

#include "terminal.hpp"

namespace lab {

class progress {
public:
  progress();
  ~progress() { clear(); }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  // Effects: shows that `done` (0 to 1) of the run is over and what it is at; redraws at most 20
  //          times a second.
  void show(double done, std::string_view at);
  // Effects: removes the bar.
  void clear();

private:
  bool on_;
  bool drawn_ = false;
  look look_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace lab
