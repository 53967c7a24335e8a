// SPDX-License-Identifier: BSL-1.0
// Three readers of a catalogue are in at once, across their awaits; a change waits for them, and
// those that come after it wait for the change.
// Prints: at once 3, old price 10 three times, new price 12 twice

#include <interlock/async_shared_mutex.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

using interlock::async_shared_mutex;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

struct catalogue {
  async_shared_mutex door;
  int price = 10;
  int readers = 0;
  int most_readers = 0;
};

task<> render() { co_await interlock::reschedule(); }

task<int> price(catalogue& from) {
  const auto reading = co_await from.door.lock_shared();
  from.most_readers = std::max(from.most_readers, ++from.readers);
  co_await render();  // other readers may run here, but no writer
  --from.readers;
  co_return from.price;
}

task<int> change(catalogue& in, int to) {
  const auto writing = co_await in.door.lock();
  in.price = 0;
  co_await render();  // nobody sees this price
  in.price = to;
  co_return to;
}

}  // namespace

int main() {
  catalogue shop;
  std::vector<task<int>> requests;
  for (int i = 0; i < 3; ++i) requests.push_back(price(shop));
  requests.push_back(change(shop, 12));
  for (int i = 0; i < 2; ++i) requests.push_back(price(shop));
  const std::vector<int> seen = sync_wait(when_all(std::move(requests)));

  const auto times = [&](int p) { return std::count(seen.begin(), seen.end(), p); };
  const bool right = shop.most_readers == 3 && times(10) == 3 && times(12) == 3;  // and the change
  std::printf("at once %d, old price 10 %s, new price 12 %s\n", shop.most_readers,
              times(10) == 3 ? "three times" : "not three times",
              times(12) == 3 ? "twice" : "not twice");
  return right ? 0 : 1;
}
