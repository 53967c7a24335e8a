// SPDX-License-Identifier: BSL-1.0
#include <interlock/versioned.hpp>

#include <array>
#include <string>

#include "support/yardsticks.hpp"

namespace {

template <std::size_t Bytes>
struct block {
  std::array<std::int64_t, Bytes / 8> words{};
};

template <class T>
struct load {
  interlock::versioned<T> cell;
  void operator()(unsigned) { benchmark::DoNotOptimize(cell.load()); }
};

template <class T>
struct compare_and_set {
  interlock::versioned<T> cell;
  void operator()(unsigned) {
    auto seen = cell.load();
    while (!cell.compare_and_set(seen.version, seen.value)) seen = cell.load();
  }
};

template <class T>
struct update {
  interlock::versioned<T> cell;
  void operator()(unsigned) {
    cell.update([](T& value) { benchmark::DoNotOptimize(value); });
  }
};

struct mutex_copy_64 {
  std::mutex mutex;
  block<64> value;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    block<64> copy = value;
    benchmark::DoNotOptimize(copy);
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::atomic_load>("versioned/std::atomic load");
  bench::add<yardstick::atomic_cas>("versioned/std::atomic CAS loop");
  bench::add<mutex_copy_64>("versioned/std::mutex copy of 64 bytes");
  bench::add<load<std::int64_t>>("versioned/load 8 bytes");
  bench::add<load<block<64>>>("versioned/load 64 bytes");
  bench::add<load<block<256>>>("versioned/load 256 bytes");
  bench::add<load<std::string>>("versioned/load std::string");
  bench::add<compare_and_set<std::int64_t>>("versioned/compare_and_set 8 bytes");
  bench::add<compare_and_set<block<64>>>("versioned/compare_and_set 64 bytes");
  bench::add<update<std::int64_t>>("versioned/update 8 bytes");
  bench::add<update<std::string>>("versioned/update std::string");
  return bench::run(argc, argv);
}
