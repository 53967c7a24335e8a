// SPDX-License-Identifier: BSL-1.0
// Move money between two cells of a store, as one step.
// Prints: 700 and 300

#include <interlock/memory/transaction.hpp>

#include <cstdio>

namespace memory = interlock::memory;

int main() {
  memory::client engine;
  memory::versioned<int> from(engine, "from");
  memory::versioned<int> to(engine, "to");
  from.store(1000).value();
  const auto moved = memory::atomically(engine, [&](memory::transaction& t) {
    t.prefetch(from, to);  // one request instead of two
    if (t.read(from).value_or(0) < 300) return false;
    t.update(from, [](int& money) { money -= 300; });
    t.update(to, [](int& money) { money += 300; });
    return true;
  });
  std::printf("%d and %d\n", *from.load()->value, *to.load()->value);
  return moved.value() && *to.load()->value == 300 ? 0 : 1;
}
