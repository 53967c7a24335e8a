// SPDX-License-Identifier: BSL-1.0
// A program says what it needs; a client that cannot promise it names the setting in the way.
// Prints, with a path that varies:
//   sqlite: client '/tmp/...': guarantee not met: PRAGMA synchronous is NORMAL: a power loss may
//   take the last commits; set PRAGMA synchronous to FULL

#include <interlock/sqlite/client.hpp>

#include <cstdio>
#include <filesystem>
#include <string>

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;

int main() {
  const auto folder = std::filesystem::temp_directory_path() / store::unique_id::fresh().text();
  std::filesystem::create_directory(folder);
  const std::string path = folder / "money.db";
  store::errc why = store::errc::engine_failure;

  const store::guarantees needed{.keeps = store::durability::power_loss, .linearizable = true};
  try {
    sqlite::client db(path, {.require = needed}, {.synchronous = sqlite::synchronous::normal});
  } catch (const store::failure& refused) {
    std::puts(refused.what());
    why = refused.error().code;
  }
  std::filesystem::remove_all(folder);
  return why == store::errc::guarantee_not_met ? 0 : 1;
}
