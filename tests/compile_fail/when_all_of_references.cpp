// SPDX-License-Identifier: BSL-1.0
// expects: a vector holds no references: return pointers
#include <interlock/when_all.hpp>

#include <vector>

void test() {
#ifdef MISTAKE
  (void)interlock::when_all(std::vector<interlock::task<int&>>());
#else
  (void)interlock::when_all(std::vector<interlock::task<int>>());
#endif
}
