// SPDX-License-Identifier: BSL-1.0
// The suite of conformance on Redis.

#include <interlock/redis/client.hpp>

#include <cstdlib>
#include <string>
#include <utility>

#include "support/servers.hpp"

namespace {

// A prefix of its own on the server of this program.
class data_set {
public:
  using engine = interlock::redis::client;

  data_set() { prefix_ += std::to_string(++made_); }

  engine client(interlock::store::client_options options = {}) {
    if (options.prefix == "interlock") options.prefix = prefix_;
    return engine(server().url(), std::move(options));
  }

private:
  static interlock::testing::throwaway_redis& server() {
    if (!support::need_redis()) std::exit(support::skipped_status);
    static interlock::testing::throwaway_redis instance;
    return instance;
  }

  static inline int made_ = 0;
  std::string prefix_ = "set";
};

}  // namespace

#include "engines/conformance.hpp"
