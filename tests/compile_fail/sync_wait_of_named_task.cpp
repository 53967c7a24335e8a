// SPDX-License-Identifier: BSL-1.0
// expects: name is given away: sync_wait(std::move(t))
#include <interlock/task.hpp>

#include <utility>

void test(interlock::task<int> work) {
#ifdef MISTAKE
  (void)interlock::sync_wait(work);
#else
  (void)interlock::sync_wait(std::move(work));
#endif
}
