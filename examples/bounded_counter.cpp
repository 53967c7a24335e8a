// SPDX-License-Identifier: BSL-1.0
// A balance of 100 and two withdrawals of 80 at once: one is paid, one is refused.
// Prints "paid out 80, balance 20".

#include <interlock/bounded_counter.hpp>

#include <atomic>
#include <iostream>
#include <thread>
#include <vector>

using interlock::bounded_counter;

namespace {

template <class F>
void on_threads(int n, F f) {
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) threads.emplace_back(f);
  for (std::thread& thread : threads) thread.join();
}

bool one_withdrawal_is_refused() {
  std::atomic<int> paid_out{0};

  bounded_counter balance(100, 0, 1'000);
  const auto withdraw = [&] { return balance.try_sub(80) ? 80 : 0; };
  on_threads(2, [&] { paid_out += withdraw(); });

  std::cout << "paid out " << paid_out << ", balance " << balance.load() << '\n';
  return paid_out == 80;
}

}  // namespace

int main() { return one_withdrawal_is_refused() ? 0 : 1; }
