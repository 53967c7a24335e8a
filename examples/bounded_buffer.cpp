// SPDX-License-Identifier: BSL-1.0
// A buffer with room for two: who finds it full or empty waits until that has changed, and a
// consumer takes from whichever of two buffers has something, urgent things first.
// Prints: 1000 urgent and 1000 other items, sum 999000

#include <interlock/transaction.hpp>

#include <array>
#include <cstdio>
#include <thread>

using interlock::atomically;
using interlock::transaction;
using interlock::versioned;

namespace {

struct buffer {
  versioned<std::size_t> filled{0};
  versioned<std::array<int, 2>> items;
};

void put(transaction& t, buffer& b, int item) {
  const std::size_t filled = t.read(b.filled);
  if (filled == 2) t.retry();  // until somebody takes one
  t.update(b.items, [&](auto& items) { items[filled] = item; });
  t.write(b.filled, filled + 1);
}

int take(transaction& t, buffer& b) {
  const std::size_t filled = t.read(b.filled);
  if (filled == 0) t.retry();  // until somebody puts one
  const int item = t.read(b.items)[0];
  t.update(b.items, [](auto& items) { items[0] = items[1]; });
  t.write(b.filled, filled - 1);
  return item;
}

struct taken {
  int item;
  bool is_urgent;
};

}  // namespace

int main() {
  buffer urgent;
  buffer other;
  constexpr int count = 1000;
  std::thread producer([&] {
    for (int i = 0; i < count; ++i) atomically([&](transaction& t) { put(t, urgent, i); });
  });
  std::thread another([&] {
    for (int i = 0; i < count; ++i) atomically([&](transaction& t) { put(t, other, i); });
  });
  int sum = 0;
  int urgent_ones = 0;
  for (int i = 0; i < 2 * count; ++i) {
    const taken one = atomically([&](transaction& t) {
      return t.or_else([&](transaction& u) { return taken{take(u, urgent), true}; },
                       [&](transaction& u) { return taken{take(u, other), false}; });
    });
    sum += one.item;
    urgent_ones += one.is_urgent ? 1 : 0;
  }
  producer.join();
  another.join();
  std::printf("%d urgent and %d other items, sum %d\n", urgent_ones, 2 * count - urgent_ones, sum);
  return sum == count * (count - 1) && urgent_ones == count ? 0 : 1;
}
