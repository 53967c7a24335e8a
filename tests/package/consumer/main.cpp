// SPDX-License-Identifier: BSL-1.0
// What a user writes first: one include line, the same in every way of use.

#include <interlock/interlock.hpp>

#include <cstdio>
#include <thread>

int main() {
  interlock::counter<> clicks{100};
  std::thread first([&] { for (int i = 0; i < 25; ++i) clicks.add(1); });
  std::thread second([&] { for (int i = 0; i < 25; ++i) clicks.add(1); });
  first.join();
  second.join();
  std::printf("interlock %s: %lld\n", INTERLOCK_VERSION_STRING,
              static_cast<long long>(clicks.load()));
  return clicks.load() == 150 ? 0 : 1;
}
