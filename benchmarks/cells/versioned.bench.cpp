// SPDX-License-Identifier: BSL-1.0
// interlock::versioned beside the processor's own load and compare-and-swap of 8 bytes.

#include <interlock/versioned.hpp>

#include "cells/jobs.hpp"

namespace cells {
namespace {

struct bare_word {
  std::atomic<std::int64_t> word{0};
  void read() { benchmark::DoNotOptimize(word.load(std::memory_order_acquire)); }
  void write(unsigned) { yardstick::cas_add(word, 1); }
};
template <class>
using bare = bare_word;

template <class T>
struct versioned {
  interlock::versioned<T> cell{first_value<T>()};
  void read() {
    const auto seen = cell.load();
    use(seen.value);
    benchmark::DoNotOptimize(seen.version);
  }
  void write(unsigned) {
    for (;;) {
      auto seen = cell.load();
      change(seen.value);
      if (cell.compare_and_set(seen.version, std::move(seen.value))) return;
    }
  }
};

// A thread's own copy, which it looks at in place.
template <class T>
struct kept_copy : versioned<T> {
  typename interlock::versioned<T>::reader reader{this->cell};
  void operator()(unsigned) { use(reader.get()); }
};

template <class T>
void add_kept_copy() {
  const std::string name = "cells/read " + size_of<T>() + "/interlock::versioned reader";
  bench::add_alone<kept_copy<T>>(name);
  bench::add_beside_writer<kept_copy<T>>(name);
}

template <class T>
struct by_update {
  interlock::versioned<T> cell{first_value<T>()};
  void operator()(unsigned) {
    cell.update([](T& value) { change(value); });
  }
};

const bench::contenders here([] {
  add<bare, block<8>>("std::atomic load or CAS loop, 8 bytes");
  add<versioned, block<8>>("interlock::versioned");
  add<versioned, block<16>>("interlock::versioned");
  add<versioned, block<32>>("interlock::versioned");
  add<versioned, block<64>>("interlock::versioned");
  add<versioned, block<256>>("interlock::versioned");
  add<versioned, std::string>("interlock::versioned");
  add_kept_copy<block<8>>();
  add_kept_copy<block<64>>();
  add_kept_copy<block<256>>();
  add_kept_copy<std::string>();
  bench::add<by_update<block<8>>>("cells/update 8 bytes/interlock::versioned update");
  bench::add<by_update<block<16>>>("cells/update 16 bytes/interlock::versioned update");
  bench::add<by_update<block<32>>>("cells/update 32 bytes/interlock::versioned update");
  bench::add<by_update<block<64>>>("cells/update 64 bytes/interlock::versioned update");
  bench::add<by_update<block<256>>>("cells/update 256 bytes/interlock::versioned update");
  bench::add<by_update<std::string>>("cells/update a string/interlock::versioned update");
});

}  // namespace
}  // namespace cells
