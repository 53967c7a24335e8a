// SPDX-License-Identifier: BSL-1.0
// An engine in memory, for tests of programs that use one: faults on demand, time that is told.
// Prints: 5 hits, the reply was lost, the lease ended

#include <interlock/memory/client.hpp>

#include <chrono>
#include <cstdio>
#include <memory>

namespace memory = interlock::memory;
namespace store = interlock::store;
using namespace std::chrono_literals;

int main() {
  const auto time = std::make_shared<memory::manual_clock>();
  memory::client engine({}, {.clock = time});
  engine.inject(memory::faults([](const memory::request& r) {
    return r.operation == "counter.add" && r.done ? memory::fault::lose_reply()
                                                  : memory::fault::none();
  }));
  const auto id = store::operation_id::fresh();
  const auto hits = engine.object_named(store::object_kind::counter, "hits");
  const auto first = engine.counter_add(hits, 5, {.id = id});
  engine.inject({});
  const auto again = engine.counter_add(hits, 5, {.id = id});  // 5

  const auto lock = engine.object_named(store::object_kind::mutex, "lock");
  const auto one = engine.lease_acquire(lock, store::unique_id::fresh(), 5s, {});
  time->advance(10s);
  const auto other = engine.lease_acquire(lock, store::unique_id::fresh(), 5s, {});

  const bool right = first.unknown() && again.value_or(0) == 5 && one.applied() &&
                     other.applied() && one->fence < other->fence;
  std::printf("%d hits, the reply was %s, the lease %s\n", static_cast<int>(again.value_or(0)),
              first.unknown() ? "lost" : "there", other.applied() ? "ended" : "holds");
  return right ? 0 : 1;
}
