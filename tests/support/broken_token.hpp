// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <new>

namespace support {

// A stop token whose callbacks cannot be made; `meanwhile` runs first.
struct broken_token {
  template <class F>
  struct callback_type {
    callback_type(const broken_token& of, F) {
      if (of.meanwhile != nullptr) (*of.meanwhile)();
      throw std::bad_alloc();
    }
    ~callback_type() {}  // NOLINT: as such types have one
  };
  static bool stop_requested() noexcept { return false; }

  const std::function<void()>* meanwhile = nullptr;
};

}  // namespace support
