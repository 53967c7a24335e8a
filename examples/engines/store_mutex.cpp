// SPDX-License-Identifier: BSL-1.0
// A lock that another process may take over, and a resource that notices it.
// Prints: 99 left, the former holder was refused

#include <interlock/memory/client.hpp>
#include <interlock/memory/fenced.hpp>
#include <interlock/memory/mutex.hpp>
#include <interlock/memory/observed_mutex.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace memory = interlock::memory;
using namespace std::chrono_literals;

namespace {

int pieces = 3;
bool work_left() {
  return pieces > 0;
}
void do_some(std::uint64_t) {
  --pieces;
}

void work_alone(memory::client& engine) {
  memory::mutex door(engine, "door");
  auto guard = door.lock({.lease = 5s}).value();
  while (work_left() && !guard.lost().stop_requested()) do_some(guard.fence());
  guard.unlock().value();  // throws if it was another's
}

// Nobody sets the clocks of those who wait.
void trust_no_clock(memory::client& engine) {
  memory::observed_mutex gate(engine, "gate");
  auto guard = gate.lock({.lease = 5s}).value();
  guard.unlock().value();
}

}  // namespace

int main() {
  const auto time = std::make_shared<memory::manual_clock>();
  memory::client engine({}, {.clock = time});
  work_alone(engine);
  trust_no_clock(engine);

  memory::mutex door(engine, "door");
  auto former = door.lock({.lease = 5s, .renew = false}).value();
  memory::fenced<int> stock(engine, "stock");
  const auto seen = stock.open(former).value();
  time->advance(6s);  // it was stopped

  auto guard = door.lock({.lease = 5s}).value();
  auto now = stock.open(guard).value();  // from here on earlier holders are refused
  const auto late = stock.write(seen, 0);
  stock.write(now, now.value.value_or(100) - 1).value();

  const int left = stock.open(guard).value().value.value_or(0);
  std::printf("%d left, the former holder was %s\n", left,
              late.conflicted() ? "refused" : "not refused");
  return left == 99 && late.conflicted() && pieces == 0 ? 0 : 1;
}
