// SPDX-License-Identifier: BSL-1.0
// Read, compute, save, and hear of it if somebody else has saved meanwhile.
// Prints: now at 600

#include <interlock/memory/versioned.hpp>

#include <cstdio>

namespace memory = interlock::memory;

int main() {
  memory::client engine;
  memory::versioned<int> wallet(engine, "wallet");
  wallet.store(1000).value();
  wallet.update([](int& money) { money -= 300; }).value();  // anew on conflict
  const auto seen = wallet.load().value();
  memory::versioned<int>(engine.beside(), "wallet").store(600).value();  // another process
  const auto saved = wallet.compare_and_set(seen.version, *seen.value - 500);
  if (saved.conflicted()) std::printf("now at %d\n", *saved.conflict().value);
  return saved.conflicted() && wallet.load()->value == 600 ? 0 : 1;
}
