// SPDX-License-Identifier: BSL-1.0
// The suite of conformance on the engine in memory.

#include <interlock/memory/client.hpp>

#include <utility>

namespace {

class data_set {
public:
  using engine = interlock::memory::client;

  engine client(interlock::store::client_options options = {}) {
    return first_.beside(std::move(options));
  }

private:
  engine first_;
};

}  // namespace

#include "engines/conformance.hpp"
