// SPDX-License-Identifier: BSL-1.0
// A file that processes of one machine share: what it promises, and a count that survives.
// Prints: 5 hits, kept after a power loss: yes

#include <interlock/sqlite/client.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace sqlite = interlock::sqlite;
namespace store = interlock::store;

int main() {
  const auto folder = std::filesystem::temp_directory_path() / store::unique_id::fresh().text();
  std::filesystem::create_directory(folder);
  const std::string path = folder / "hits.db";

  sqlite::client db(path);
  const auto hits = db.object_named(store::object_kind::counter, "hits");
  const store::outcome<std::int64_t> now = db.counter_add(hits, 5, {});
  if (now.unknown()) std::puts("it may be counted: ask again under the same operation id");

  const bool kept = db.probed().promised.keeps >= store::durability::power_loss;
  if (!kept) std::printf("(%s is not on a disk)\n", path.c_str());
  std::printf("%d hits, kept after a power loss: %s\n", static_cast<int>(now.value_or(0)),
              kept ? "yes" : "no");
  db.close();
  std::filesystem::remove_all(folder);
  return now.value_or(0) == 5 ? 0 : 1;
}
