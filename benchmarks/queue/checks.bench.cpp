// SPDX-License-Identifier: BSL-1.0
// Figures that are no times: allocations, and what idle queues and keys take.

#include <interlock/keyed_serial_queue.hpp>
#include <interlock/serial_lane.hpp>
#include <interlock/serial_queue.hpp>

#include "queue/posts.hpp"
#include "support/heap.hpp"
#include "tests/support/allocations.hpp"

namespace queues {
namespace {

using interlock::keyed_serial_queue;
using interlock::serial_queue;

// Returns: calls of operator new for each of 10 000 tasks, once the threads have blocks.
template <class Post>
double allocations_of(Post post) {
  constexpr int count = 10'000;
  for (int i = 0; i < count; ++i) post(i);
  const std::size_t before = support::allocations();
  for (int i = 0; i < count; ++i) post(i);
  return static_cast<double>(support::allocations() - before) / count;
}

// Behind a task that is running: each of these is queued.
double busy_posts() {
  ledger work;
  serial_queue queue;
  return allocations_of([&](int i) {
    if (i % 64 != 0) return;
    queue.run([&] {
      for (int j = 0; j < 64; ++j) benchmark::DoNotOptimize(queue.post(section<48>{&work, 0}));
    });
  });
}

struct counted {
  std::array<std::uint64_t, 6> payload{};
  void operator()() const noexcept {
    benchmark::DoNotOptimize(payload);
    runs::tick();
  }
};

// By workers, of which nobody waits for a call: post(i, task) posts the task.
template <class Post>
double behind_workers(Post post) {
  const std::uint64_t before = runs::sum();
  std::uint64_t posted = 0;
  return allocations_of([&](int i) {
    post(i, counted{});
    if (++posted % 1000 == 0) wait_until([&] { return runs::sum() - before == posted; });
  });
}

double worker_posts() {
  serial_queue queue({.workers = 1});
  return behind_workers([&](int, const counted& task) {
    benchmark::DoNotOptimize(queue.post(task));
  });
}

template <std::size_t Workers>
double keyed_posts() {
  keyed_serial_queue<std::uint64_t> queue({.workers = Workers});
  return behind_workers([&](int i, const counted& task) {
    benchmark::DoNotOptimize(queue.post(static_cast<std::uint64_t>(i) % 100, task));
  });
}

// Returns: bytes of heap for each key that had a task and is idle again.
double bytes_of_idle_keys() {
  const int keys = bench::quick ? 10'000 : 1'000'000;
  keyed_serial_queue<std::uint64_t> queue;
  const double before = bench::heap_in_use();
  for (int i = 0; i < keys; ++i) {
    benchmark::DoNotOptimize(queue.post(static_cast<std::uint64_t>(i), [] {}));
  }
  queue.drain();
  return (bench::heap_in_use() - before) / keys;
}

const bench::contenders here([] {
  const std::string allocations = "queue/allocations of a task of 48 bytes/";
  const auto add = [&](const char* who, double (*measure)()) {
    bench::add_figure(allocations + who, "a task", measure);
  };
  add("interlock::serial_queue, queued", busy_posts);
  add("interlock::serial_queue, a worker", worker_posts);
  add("interlock::keyed_serial_queue", keyed_posts<0>);
  add("interlock::keyed_serial_queue, 2 workers", keyed_posts<2>);
  const std::string memory = "queue/memory/";
  bench::add_figure(memory + "interlock::serial_lane", "bytes",
                    [] { return double{sizeof(interlock::serial_lane)}; });
  bench::add_figure(memory + "interlock::serial_queue, all of it", "bytes",
                    [] { return double{sizeof(serial_queue)}; });
  bench::add_figure(memory + "interlock::keyed_serial_queue, an idle key", "bytes",
                    bytes_of_idle_keys);
});

}  // namespace
}  // namespace queues
