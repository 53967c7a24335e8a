// SPDX-License-Identifier: BSL-1.0
#pragma once

// A server whose date is moved. Include a place that has one before.

#include <chrono>
#include <utility>

#include "engines/support/shifted_clock.hpp"
#include "support/servers.hpp"

namespace faults {

class shifted_place {
public:
  static bool available() {
    return place::available() &&
           support::need(support::shifted_clock::available(), "C compiler for shifted_clock.c");
  }
  [[nodiscard]] place::client open(store::client_options options) const {
    return here_.open(std::move(options));
  }
  void shift(std::chrono::nanoseconds by) const { clock_.set(by); }

private:
  support::shifted_clock clock_;
  place here_{kept::quick, {.environment = clock_.environment()}};
};

}  // namespace faults
