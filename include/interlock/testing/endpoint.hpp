// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/endpoint.hpp - where a server of a test listens: a socket's path, or a port of
// the loopback address.

#include <cstdint>
#include <string>

namespace interlock::testing {

struct endpoint {
  std::string path;        // of a unix socket; empty: TCP at 127.0.0.1
  std::uint16_t port = 0;  // of TCP

  // Returns: "/folder/socket" or "127.0.0.1:6379".
  [[nodiscard]] std::string text() const {
    return path.empty() ? std::string("127.0.0.1:").append(std::to_string(port)) : path;
  }
  // Of the path: all before the last slash, and what is after it.
  [[nodiscard]] std::string folder() const { return path.substr(0, path.rfind('/')); }
  [[nodiscard]] std::string name() const { return path.substr(path.rfind('/') + 1); }
  bool operator==(const endpoint&) const = default;
};

}  // namespace interlock::testing
