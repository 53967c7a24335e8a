// SPDX-License-Identifier: BSL-1.0
// The suite of conformance on SQLite.

#include <interlock/sqlite/client.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <utility>

namespace {

class data_set {
public:
  using engine = interlock::sqlite::client;

  engine client(interlock::store::client_options options = {}) {
    return engine(folder_.path() + "/data.db", std::move(options));
  }

private:
  interlock::testing::temporary_folder folder_;
};

}  // namespace

#include "engines/conformance.hpp"
