// SPDX-License-Identifier: BSL-1.0
// Sell what is in stock, and no more.
// Prints: only 1 left

#include <interlock/memory/bounded_counter.hpp>

#include <cstdio>

namespace memory = interlock::memory;

int main() {
  memory::client engine;
  memory::bounded_counter stock(engine, "stock", {.value = 3, .low = 0, .high = 100});
  const auto left = stock.try_sub(2);
  const auto more = stock.try_sub(2);
  if (more.conflicted()) {
    std::printf("only %d left\n", static_cast<int>(more.conflict().value));
  }
  return *left == 1 && more.conflicted() ? 0 : 1;
}
