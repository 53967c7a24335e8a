// SPDX-License-Identifier: BSL-1.0
// A map whose keys strangers choose.

#include <interlock/seeded_hash.hpp>

#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

using interlock::seeded_hash;

int main() {
  using hash = seeded_hash<std::string>;
  std::unordered_map<std::string, int, hash, std::equal_to<>> sessions;
  sessions["4f1c"] = 1;
  const bool found = sessions.contains(std::string_view("4f1c"));  // without a copy
  std::printf("found: %d\n", found ? 1 : 0);
  return found ? 0 : 1;
}
