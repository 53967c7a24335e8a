// SPDX-License-Identifier: BSL-1.0
#include <interlock/interlock.hpp>

int second();

int second() {
  interlock::counter<> here{1};
  here.add(1);
  return static_cast<int>(here.load());
}
