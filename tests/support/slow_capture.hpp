// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <semaphore>
#include <utility>

namespace support {

// A task whose captures are destroyed slowly: the destructor says that it has begun, and goes on
// when it is told to.
struct slow_capture {
  slow_capture(std::binary_semaphore& b, std::binary_semaphore& g) : begun(&b), go(&g) {}
  slow_capture(slow_capture&& other) noexcept
      : begun(std::exchange(other.begun, nullptr)), go(other.go) {}
  ~slow_capture() {
    if (begun == nullptr) return;
    begun->release();
    go->acquire();
  }
  void operator()() const {}

  std::binary_semaphore* begun;
  std::binary_semaphore* go;
};

}  // namespace support
