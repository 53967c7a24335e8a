// SPDX-License-Identifier: BSL-1.0
// expects: a shared lock cannot be upgraded: of two readers that tried, each would wait for the other
#include <interlock/async_shared_mutex.hpp>

void go_on_as_writer(interlock::async_shared_mutex& door,
                     interlock::async_shared_mutex::shared_guard& reading) {
#ifdef MISTAKE
  reading.upgrade();
#else
  reading.unlock();
#endif
  const auto writing = door.lock_blocking();
  if (!writing) return;
}
