// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs f on a thread with a stack of 256 KB: what recurses once per element does not fit.

#include <pthread.h>

#include <cstddef>

namespace support {

// Returns: false if the thread could not be started. No assertion inside f.
template <class F>
bool on_small_stack(F f) {
  constexpr std::size_t bytes = 256 * 1024;
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return false;
  pthread_t thread{};
  const auto run = [](void* argument) -> void* {
    (*static_cast<F*>(argument))();
    return nullptr;
  };
  const bool started = ::pthread_attr_setstacksize(&attributes, bytes) == 0 &&
                       ::pthread_create(&thread, &attributes, run, &f) == 0;
  ::pthread_attr_destroy(&attributes);
  return started && ::pthread_join(thread, nullptr) == 0;
}

}  // namespace support
