// SPDX-License-Identifier: BSL-1.0
// Transfers between two accounts, in both directions at once, some of them refused half-way.
// Prints: 100 + 100 = 200

#include <interlock/snapshot.hpp>
#include <interlock/transaction.hpp>

#include <cstdio>
#include <stdexcept>
#include <thread>

using interlock::atomically;
using interlock::snapshot;
using interlock::transaction;
using interlock::versioned;

namespace {

bool transfer(versioned<int>& from, versioned<int>& to, int amount) {
  try {
    atomically([&](transaction& t) {
      if (t.read(from) < amount) throw std::runtime_error("not enough money");
      t.update(from, [&](int& money) { money -= amount; });
      t.update(to, [&](int& money) { money += amount; });
    });
    return true;
  } catch (const std::runtime_error&) {
    return false;  // and nothing has moved
  }
}

}  // namespace

int main() {
  versioned<int> a(100);
  versioned<int> b(100);
  std::thread there([&] {
    for (int i = 0; i < 1000; ++i) transfer(a, b, 60);
  });
  bool consistent = true;
  for (int i = 0; i < 1000; ++i) {
    transfer(b, a, 60);
    const auto [in_a, in_b] = snapshot(a, b);
    consistent = consistent && in_a + in_b == 200 && in_a >= 0 && in_b >= 0;
  }
  there.join();

  // With a limit the answer may be that others were always first.
  const auto reset = atomically([&](transaction& t) {
    t.write(a, 100);
    t.write(b, 100);
  }, 10);
  if (!reset) std::printf("in the way: account %s\n", reset.contended() == &a ? "a" : "b");

  std::printf("%d + %d = %d\n", a.load().value, b.load().value, a.load().value + b.load().value);
  return consistent && reset && a.load().value == 100 && b.load().value == 100 ? 0 : 1;
}
