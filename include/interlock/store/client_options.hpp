// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/client_options.hpp - what every engine's client may be told.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "guarantees.hpp"

namespace interlock::store {

struct client_options {
  // Objects of clients with another prefix are others. Letters, digits, '_' and '-', 1 to 64.
  std::string prefix = "interlock";
  // What the server has to promise; connecting fails with the setting to change if it does not.
  std::optional<guarantees> require{};
  // Connections at most; a call waits for one. They are made as needed.
  std::size_t connections = 8;
  // For each call that says nothing else, waits for a connection included.
  std::chrono::milliseconds timeout{2000};
  // How long the engine remembers operation ids of a session that is silent.
  std::chrono::milliseconds retention = std::chrono::hours(24);
  // Values and payloads beyond it are refused (too_large).
  std::size_t max_value_bytes = std::size_t{16} << 20U;
  // Threads on which awaited calls wait for the engine; 0: as many as connections.
  std::size_t threads = 0;
};

}  // namespace interlock::store
