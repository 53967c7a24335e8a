// SPDX-License-Identifier: BSL-1.0
#pragma once

// Waits for what another thread is about to do.

#include <chrono>
#include <thread>

namespace support {

// Returns: whether the condition came true within `most`. It is asked every millisecond.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition,
                              std::chrono::milliseconds most = std::chrono::seconds(20)) {
  const auto until = std::chrono::steady_clock::now() + most;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace support
