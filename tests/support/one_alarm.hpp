// SPDX-License-Identifier: BSL-1.0
#pragma once

// A timer for one alarm, whose deadline has passed when somebody says so: for the explorer.

#include <utility>

#include "stopping.hpp"

namespace support {

class one_alarm {
public:
  using time_point = int;

  template <class F>
  class alarm : stop_source::token::callback_type<F> {
  public:
    alarm(one_alarm& timer, time_point, F f)
        : stop_source::token::callback_type<F>(timer.passed_.get_token(), std::move(f)) {}
  };

  // Effects: the deadline has passed.
  void ring() { passed_.request_stop(); }

private:
  stop_source passed_;
};

}  // namespace support
