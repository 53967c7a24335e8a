// SPDX-License-Identifier: BSL-1.0
// The clock of the engine in memory jumps.

#include "engines/faults/memory.hpp"

namespace faults {

class shifted_place {
public:
  static bool available() { return true; }
  [[nodiscard]] place::client open(store::client_options options) const {
    return data_.beside(std::move(options));
  }
  void shift(std::chrono::nanoseconds to) {
    data_.shift_clock(to - now_);
    now_ = to;
  }

private:
  place::client data_;
  std::chrono::nanoseconds now_{0};
};

}  // namespace faults

#include "engines/faults/clocks.hpp"
