// SPDX-License-Identifier: BSL-1.0
#pragma once

// Keeps a queue, or a key of one, busy from another thread until released, so that what comes now is
// queued.

#include <semaphore>
#include <thread>

namespace support {

class occupied {
public:
  template <class Queue, class... Key>
  explicit occupied(Queue& queue, const Key&... key)
      : thread_([this, &queue, key...] {
          queue.run(key..., [this] {
            started_.release();
            release_.acquire();
          });
        }) {
    started_.acquire();
  }
  occupied(const occupied&) = delete;
  occupied& operator=(const occupied&) = delete;
  ~occupied() { release(); }
  void release() {
    if (!thread_.joinable()) return;
    release_.release();
    thread_.join();
  }

private:
  std::binary_semaphore started_{0};
  std::binary_semaphore release_{0};
  std::thread thread_;
};

}  // namespace support
