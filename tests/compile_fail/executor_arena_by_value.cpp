// SPDX-License-Identifier: BSL-1.0
// expects: this executor is taken by reference; give a name to it
#include <interlock/async_event.hpp>

#include <functional>
#include <utility>

struct arena {
  void enqueue(const std::function<void()>&) {}
};

void test(interlock::async_manual_reset_event& event) {
  arena here;
#ifdef MISTAKE
  auto wait = event.wait().resume_on(arena());
#else
  auto wait = event.wait().resume_on(here);
#endif
  (void)wait;
}
