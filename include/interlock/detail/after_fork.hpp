// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/after_fork.hpp - a call in the child of each fork(), before anything else there.

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

namespace interlock::detail {

// Effects: from now on f() is called in each child, on its one thread. f stores, and no more. None
//          where there is no fork(), or no memory for it.
inline void after_fork(void (*f)()) noexcept {
#if __has_include(<pthread.h>)
  static_cast<void>(::pthread_atfork(nullptr, nullptr, f));
#else
  static_cast<void>(f);
#endif
}

}  // namespace interlock::detail
