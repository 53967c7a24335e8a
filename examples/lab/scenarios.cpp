// SPDX-License-Identifier: BSL-1.0

#include "scenario.hpp"

#include "scenarios/fifty_clicks.hpp"

namespace lab {

const std::vector<scenario>& scenarios() {
  static const std::vector<scenario> all{
      fifty_clicks::describe(),
  };
  return all;
}

}  // namespace lab
