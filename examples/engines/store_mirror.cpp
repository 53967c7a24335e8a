// SPDX-License-Identifier: BSL-1.0
// Likes, counted here and copied to a store: late and repeated writes do no harm.
// Prints: dog 10000, the late write was refused

#include <interlock/keyed_mirror.hpp>
#include <interlock/memory/client.hpp>
#include <interlock/memory/mirror_target.hpp>
#include <interlock/mirror_version.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>

namespace memory = interlock::memory;
using interlock::keyed_mirror;
using interlock::mirror_snapshot;
using interlock::mirror_version;

int main() {
  memory::client engine;
  engine.inject(memory::faults::seeded(1, {.drop = 100, .lose_reply = 100}));
  std::atomic<int> likes{0};
  const auto read = [&](const std::string&) {
    const int now = likes;
    return mirror_snapshot<int>{now, {1, static_cast<std::uint64_t>(now)}};
  };

  memory::mirror_target<std::string, int> copies(engine, "likes");
  {
    keyed_mirror<std::string, int, mirror_version> rows(read, copies, {.parallel = 2});
    for (int i = 0; i < 10'000; ++i) {
      likes.fetch_add(1);
      rows.touch("dog");  // copies.put_if_newer("dog", version, value) follows
    }
  }
  engine.inject({});
  const auto late = copies.put_if_newer("dog", {1, 500}, 500);
  const auto dog = copies.get("dog").value();
  std::printf("dog %d, the late write was %s\n", dog.value.value_or(0),
              late.conflicted() ? "refused" : "taken");
  return dog.value == 10'000 && late.conflicted() ? 0 : 1;
}
