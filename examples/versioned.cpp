// SPDX-License-Identifier: BSL-1.0
// Two debits from one wallet, computed from what was read: 1000 - 300 - 500 leaves 200, whoever
// comes first. Prints: left 200, version 3

#include <interlock/versioned.hpp>

#include <cstdio>
#include <string>
#include <thread>

using interlock::versioned;

int main() {
  versioned<int> wallet(1000);
  std::thread other([&] {
    wallet.update([](int& money) { money -= 300; });  // recomputed on conflict
  });

  for (bool paid = false; !paid;) {
    const auto seen = wallet.load();  // value and version
    const auto saved = wallet.compare_and_set(seen.version, seen.value - 500);
    if (!saved) std::printf("now at %d\n", saved.current().value);
    paid = static_cast<bool>(saved);
  }
  other.join();

  // A replica takes what is newer and ignores what comes late.
  versioned<std::string> replica("nothing yet");
  replica.store_if_newer(7, "as of 7");
  const bool late = replica.store_if_newer(5, "as of 5");

  // Whoever waits for the next version sleeps until it is there.
  std::thread writer([&] { wallet.store(200); });
  const auto news = wallet.wait(2);
  writer.join();

  // Who looks often keeps a copy, and looks at the version alone while that has not moved.
  versioned<std::string>::reader prices(replica);
  const std::string& now = prices.get();  // the value itself, until the next get()

  std::printf("left %d, version %llu\n", news.value, static_cast<unsigned long long>(news.version));
  const bool right = news.value == 200 && news.version == 3 && !late && now == "as of 7" && prices.version() == 7 &&
                     replica.version() == 7;
  return right ? 0 : 1;
}
