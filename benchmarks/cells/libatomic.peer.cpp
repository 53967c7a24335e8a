// SPDX-License-Identifier: BSL-1.0
// std::atomic of more than a word: calls of libatomic, which locks what the processor cannot do.

#include <atomic>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T>
struct atomic {
  std::atomic<T> cell{};
  void read() {
    const T copy = cell.load(std::memory_order_acquire);
    use(copy);
  }
  void write(unsigned) {
    T seen = cell.load(std::memory_order_relaxed);
    for (;;) {
      T next = seen;
      change(next);
      if (cell.compare_exchange_strong(seen, next)) return;
    }
  }
};

const bench::contenders here([] {
  add<atomic, block<16>>("libatomic std::atomic<T>");
  add<atomic, block<64>>("libatomic std::atomic<T>");
  add<atomic, block<256>>("libatomic std::atomic<T>");
});

}  // namespace
}  // namespace cells
