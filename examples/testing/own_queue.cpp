// SPDX-License-Identifier: BSL-1.0
// A ring of two slots for one producer and one consumer, proved; then with one order too weak.
// Compiled with -fsanitize=thread and linked with interlock::testing: the ring knows nothing of it.

#include <interlock/testing/model.hpp>

#include <atomic>
#include <cstddef>
#include <iostream>

namespace testing = interlock::testing;

namespace {

template <std::memory_order publish>
class ring {
public:
  bool push(int item) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == 2) return false;
    slots_[tail % 2] = item;
    tail_.store(tail + 1, publish);
    return true;
  }
  bool pop(int& item) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return false;
    item = slots_[head % 2];
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

private:
  int slots_[2] = {};
  std::atomic<std::size_t> head_{0}, tail_{0};
};

template <std::memory_order publish>
void hand_over(testing::world& w) {
  ring<publish> queue;
  int next = 1;
  w.thread([&] {
    for (int i = 1; i <= 3; ++i) (void)queue.push(i);
  });
  w.thread([&] {
    for (int i = 1, item = 0; i <= 3; ++i) {
      if (queue.pop(item)) testing::check(item == next++, "items come in order");
    }
  });
  w.finally([] {});
}

}  // namespace

int main() {
  const testing::report right = testing::explore(hand_over<std::memory_order_release>);
  std::cout << right.text() << '\n';

  const testing::report wrong = testing::explore(hand_over<std::memory_order_relaxed>);
  std::cout << wrong.text() << '\n';

  testing::options again;
  again.replay = wrong.replay;
  const testing::report same = testing::explore(again, hand_over<std::memory_order_relaxed>);
  return right.proved() && !wrong.failure.empty() && same.failure == wrong.failure ? 0 : 1;
}
