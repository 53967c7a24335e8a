// SPDX-License-Identifier: BSL-1.0
// Two translation units that include everything must link: every definition is inline.
#include <interlock/interlock.hpp>

int second();

int main() {
  interlock::counter<> here{1};
  here.add(1);
  return here.load() == 2 && second() == 2 ? 0 : 1;
}
