// SPDX-License-Identifier: BSL-1.0
// Two translation units that include everything must link: every definition is inline.
#include "shared.hpp"

int second(bool may_restart);

// With an argument, sequences are not to be restarted: a file of this program has a sanitizer.
int main(int argc, char**) {
  interlock::counter<> here{1};
  here.add(1);
  interlock::striped_counter many;
  many.add(3);
  return here.load() == 2 && many.load() == 3 && sequences_work() && second(argc == 1) == 2 ? 0 : 1;
}
