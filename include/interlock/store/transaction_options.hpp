// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/transaction_options.hpp - what a transaction may be told.

#include <chrono>
#include <cstddef>

#include "operation_id.hpp"

namespace interlock::store {

struct transaction_options {
  // How often the body runs at most, where others come first.
  std::size_t attempts = 64;
  // For all attempts together, with waiting for a connection. 0: what the client was given.
  std::chrono::milliseconds timeout{0};
  // Asking again under the same id is done once. On SQLite and PostgreSQL it gives the same answer;
  // elsewhere what the body returns that time, of the state that the first one left.
  operation_id id{};
};

}  // namespace interlock::store
