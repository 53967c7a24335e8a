// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/settings.hpp - what redis::client may be told besides store::client_options.

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

struct redisContext;

namespace interlock::redis {

struct settings {
  // Writes wait until so many replicas have them; with fewer until the deadline they are unknown.
  // Fewer writes are lost when a replica takes over; Redis does not promise none.
  std::size_t replicas = 0;
  // What CLIENT LIST shows. Printable, no spaces.
  std::string client_name = "interlock";
  // How often a connection in use asks whether this is still the data set that it knows.
  std::chrono::milliseconds look_every{1000};
  // Starts TLS on a connection to this host: redis::tls(), of redis/tls.hpp. rediss:// needs it.
  // Its reads and writes fail with EAGAIN when the time to connect in is over.
  // Returns: what went wrong, or nothing.
  std::function<std::string(redisContext& connection, const std::string& host)> secure{};
};

}  // namespace interlock::redis
