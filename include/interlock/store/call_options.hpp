// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/call_options.hpp - what a single call may carry: an operation id, its time.

#include <chrono>

#include "operation_id.hpp"

namespace interlock::store {

struct call_options {
  // Asking again under the same id is done once. Reads have no use for it.
  operation_id id{};
  // How long the call may take, with waiting for a connection. 0: what the client was given.
  std::chrono::milliseconds timeout{0};
};

}  // namespace interlock::store
