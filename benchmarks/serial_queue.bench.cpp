// SPDX-License-Identifier: BSL-1.0
#include <interlock/keyed_serial_queue.hpp>
#include <interlock/serial_queue.hpp>

#include <array>

#include "support/yardsticks.hpp"

namespace {

struct run {
  std::int64_t value = 0;
  interlock::serial_queue queue;
  void operator()(unsigned) {
    benchmark::DoNotOptimize(queue.run([this] { return ++value; }));
  }
};

struct post_inline {
  std::int64_t value = 0;
  interlock::serial_queue queue;
  void operator()(unsigned) {
    benchmark::DoNotOptimize(queue.post([this] { benchmark::DoNotOptimize(++value); }));
  }
};

// Bounded, and a poster waits when the line is full: so what is measured is the pace of the worker.
struct post_to_worker {
  std::int64_t value = 0;
  interlock::serial_queue queue{
      {.capacity = 4096, .full = interlock::when_full::block, .workers = 1}};
  void operator()(unsigned) {
    benchmark::DoNotOptimize(queue.post([this] { benchmark::DoNotOptimize(++value); }));
  }
};

struct keyed_run {
  struct alignas(64) lane_state {
    std::uint64_t next = 0;
  };
  std::array<lane_state, 64> lanes{};
  std::array<std::int64_t, 1024> values{};
  interlock::keyed_serial_queue<std::uint64_t> queue;
  void operator()(unsigned lane) {
    const std::uint64_t key = (lane * 97U + lanes[lane % 64].next++) % 1024;
    benchmark::DoNotOptimize(queue.run(key, [&] { return ++values[key]; }));
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::mutex_section>("serial_queue/std::mutex section");
  bench::add<run>("serial_queue/run");
  bench::add<post_inline>("serial_queue/post, inline");
  bench::add<post_to_worker>("serial_queue/post to a worker");
  bench::add<keyed_run>("serial_queue/keyed run, 1024 keys");
  return bench::run(argc, argv);
}
