// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/around_fork.hpp - calls before and after each fork(), for a lock that is
// held over it.

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

namespace interlock::store::detail {

// Effects: from now on, on the thread that forks, before() is called ahead of each fork() and
//          after() behind it, in_child() in the child. None where there is no fork(), or no memory.
inline void around_fork(void (*before)(), void (*after)(), void (*in_child)()) noexcept {
#if __has_include(<pthread.h>)
  static_cast<void>(::pthread_atfork(before, after, in_child));
#else
  static_cast<void>(before), static_cast<void>(after), static_cast<void>(in_child);
#endif
}

}  // namespace interlock::store::detail
