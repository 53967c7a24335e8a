// SPDX-License-Identifier: BSL-1.0
// Figures that are no times: what a counter occupies, and that draining loses nothing.

#include <interlock/striped_counter.hpp>

#include <cstdlib>
#include <new>
#include <vector>

#include "support/bench.hpp"

namespace {

std::atomic<std::size_t> allocated{0};  // bytes, by operator new, in this program

void* allocate(std::size_t size, std::size_t alignment) {
  allocated.fetch_add(size, std::memory_order_relaxed);
  void* const memory =
      std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Slots come 64 counters at a time, and those of earlier counters are used again: so this measures
// from one such allocation, when no slots are left, to the same moment of another.
double bytes_of_slots() {
  constexpr std::size_t measured = 1024;
  std::vector<interlock::striped_counter> many(16 * measured);
  std::size_t next = 0;
  std::size_t before = allocated.load();
  while (allocated.load() == before && next < many.size() - measured) many[next++].spread();
  before = allocated.load();
  for (std::size_t i = 0; i < measured; ++i) many[next++].spread();
  return static_cast<double>(allocated.load() - before) / measured /
         interlock::detail::restartable::rows();
}

// Two threads a CPU add; this one drains all the time, once more when they have ended.
struct drained {
  std::int64_t performed = 0;
  std::int64_t counted = 0;
};

drained drain_while_counting() {
  interlock::striped_counter clicks;
  clicks.spread();
  const unsigned threads = 2 * bench::cpu_count();
  const std::int64_t each = (bench::quick ? 10'000'000 : 120'000'000) / threads;
  std::atomic<unsigned> running{threads};
  std::vector<std::thread> crowd;
  for (unsigned i = 0; i < threads; ++i) {
    crowd.emplace_back([&] {
      for (std::int64_t n = 0; n < each; ++n) clicks.add(1);
      running.fetch_sub(1);
    });
  }
  drained result{each * threads, 0};
  while (running.load() != 0) result.counted += clicks.exchange(0);
  for (std::thread& thread : crowd) thread.join();
  result.counted += clicks.exchange(0);
  return result;
}

drained once() {
  static const drained result = drain_while_counting();
  return result;
}

const bench::contenders here([] {
  const std::string who = "interlock::striped_counter";
  bench::add_figure("counters/memory/" + who + ", idle", "bytes",
                    [] { return static_cast<double>(sizeof(interlock::striped_counter)); });
  bench::add_figure("counters/memory/" + who + ", each slot", "bytes a possible CPU",
                    bytes_of_slots);
  const std::string drain = "counters/lossless drain/" + who + " exchange, ";
  bench::add_figure(drain + "adds performed", "millions",
                    [] { return static_cast<double>(once().performed) / 1e6; });
  bench::add_figure(drain + "adds lost", "adds", [] {
    return static_cast<double>(std::abs(once().performed - once().counted));
  });
});

}  // namespace

// Out of line: GCC 12 takes the inlined allocation for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
  return allocate(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
