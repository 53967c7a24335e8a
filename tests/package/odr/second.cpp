// SPDX-License-Identifier: BSL-1.0
#include "shared.hpp"

int second();

int second() {
  interlock::counter<> here{1};
  here.add(1);
  interlock::striped_counter many;
  many.add(2);
  return sequences_work() ? static_cast<int>(here.load() + many.load()) - 2 : 0;
}
