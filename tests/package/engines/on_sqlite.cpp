// SPDX-License-Identifier: BSL-1.0
// Counts in a file, by the target interlock::sqlite, through two clients of it.

#include <interlock/sqlite/client.hpp>
#include <interlock/store/basic_counter.hpp>

#include <cstdio>
#include <filesystem>
#include <string>

int main(int, char** argv) {
  const std::string file = std::string(argv[0]) + ".db";
  for (const char* const part : {"", "-wal", "-shm"}) std::filesystem::remove(file + part);
  using counter = interlock::store::basic_counter<interlock::sqlite::client>;
  const counter first(interlock::sqlite::client(file), "hits");
  const counter second(interlock::sqlite::client(file), "hits");
  for (int i = 0; i < 10; ++i) {
    if (!first.add(1).applied() || !second.add(2).applied()) return 1;
  }
  const auto now = first.load();
  if (!now.applied()) return 1;
  std::printf("%lld\n", static_cast<long long>(now.value()));
  return now.value() == 30 ? 0 : 1;
}
