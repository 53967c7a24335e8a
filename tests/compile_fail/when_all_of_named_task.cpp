// SPDX-License-Identifier: BSL-1.0
// expects: is given away: when_all(std::move(t))
#include <interlock/when_all.hpp>

#include <utility>

void test(interlock::task<int> work) {
#ifdef MISTAKE
  (void)interlock::when_all(work);
#else
  (void)interlock::when_all(std::move(work));
#endif
}
